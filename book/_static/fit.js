/* Formulas inside a line that are wider than their column get places to break, a full stop stays with the formula before it, the
   tables of sentences get what their cards need, and figures a box to scroll in. */
(function () {
  const BLOCK = "p, li, td, th, dd, dt, figcaption, h1, h2, h3";
  const SHORT = 24; // characters that a cell of a narrow table, or a word of code that stays in one piece, may have
  const AFTER = /^[=<>≤≥≈∼≪≫→↦≠∈∝+−±,;:]$|^(\\to|:=)$/;

  /* Walk what MathJax drew and the MathML that it keeps for screen readers side by side: the second knows the operators. */
  function places(drawn, told) {
    const shapes = [...drawn.children];
    const parts = [...told.children];
    if (shapes.length !== parts.length) return;
    parts.forEach(function (part, i) {
      if (["mrow", "mstyle"].includes(part.localName)) places(shapes[i], part);
      else if (part.localName === "mo" && AFTER.test(part.textContent.trim()) && i < parts.length - 1) {
        shapes[i].after(document.createElement("wbr"));
      }
    });
  }

  function fit() {
    for (const box of document.querySelectorAll("span.math mjx-container:not(.fit-broken)")) {
      const math = box.querySelector("mjx-math");
      const told = box.querySelector("mjx-assistive-mml math");
      const block = box.closest(BLOCK);
      if (!math || !told || !block || box.closest("table:not(.fit-cards)")) continue; // such a table scrolls as a whole
      const width = math.getBoundingClientRect().width;
      if (!width || width < block.clientWidth - 1) continue; // not shown, or narrow enough
      places(math, told);
      box.classList.add("fit-broken");
      box.removeAttribute("tabindex"); // it was a stop of the Tab key while it scrolled
    }
  }

  function together() {
    for (const formula of document.querySelectorAll("span.math")) {
      const after = formula.nextSibling;
      const sign = after && after.nodeType === Node.TEXT_NODE && after.data.match(/^[.,;:)?!]+/);
      if (!sign) continue;
      const pair = document.createElement("span");
      pair.className = "fit-together";
      formula.replaceWith(pair);
      after.deleteData(0, sign[0].length);
      pair.append(formula, sign[0]);
    }
  }

  const words = (cell) => cell.textContent.trim().replace(/\\\(.*?\\\)/g, "formula").length;

  function cards() {
    for (const table of document.querySelectorAll("article table")) {
      const heads = [...table.querySelectorAll("thead th")];
      const cells = [...table.querySelectorAll("tbody td:not(:first-child)")];
      if (heads.length < 3 || !cells.some((cell) => words(cell) > SHORT)) continue; // a table of numbers stays a table
      table.classList.add("fit-cards");
      const roles = { thead: "rowgroup", tbody: "rowgroup", tr: "row", th: "columnheader", td: "cell" };
      table.setAttribute("role", "table");
      for (const [name, role] of Object.entries(roles)) {
        for (const part of table.querySelectorAll(name)) part.setAttribute("role", role);
      }
      for (const row of table.querySelectorAll("tbody tr")) {
        [...row.children].forEach(function (cell, i) {
          if (cell.textContent.trim()) cell.setAttribute("data-label", heads[i].textContent.trim());
        });
      }
    }
  }

  function code() {
    for (const word of document.querySelectorAll("article code .pre")) {
      word.classList.toggle("fit-long", word.textContent.length > SHORT);
    }
  }

  /* A figure that is wider than a phone scrolls apart from its caption. */
  function figures() {
    for (const picture of document.querySelectorAll('article figure > img[src$=".png"]')) {
      const box = document.createElement("div");
      box.className = "fit-figure";
      picture.replaceWith(box);
      box.append(picture);
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    figures();
    code();
    cards();
    together();
  });
  window.addEventListener("load", function () {
    const typeset = window.MathJax && window.MathJax.startup ? window.MathJax.startup.promise : Promise.resolve();
    const article = document.querySelector("article");
    if (article) typeset.then(() => new ResizeObserver(fit).observe(article)); // a window of another size, or a solution that opens
  });
})();
