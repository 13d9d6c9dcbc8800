// What a style sheet cannot know when a page is printed: how much wider than the paper a formula is, and that paper is not dark.
(function () {
  const PAPER = ((210 - 2 * 18) / 25.4) * 96; // the width of the text on A4 as print.css sets it, in pixels
  const LETTER = (10.5 / 72) * 96 * 1.06; // one em of a formula on paper

  /** Tell print.css by how much every wide formula has to shrink. */
  function fit() {
    const article = document.querySelector("article");
    for (const box of document.querySelectorAll('.bd-article mjx-container[display="true"]')) {
      const formula = box.querySelector("mjx-math");
      const width = (formula.getBoundingClientRect().width / parseFloat(getComputedStyle(box).fontSize)) * LETTER;
      const number = box.parentElement.querySelector(":scope > .eqno");
      const indent = article.clientWidth - box.parentElement.clientWidth + (number ? 2 * number.offsetWidth : 0);
      if (width > PAPER - indent) box.style.setProperty("--fit", ((PAPER - indent) / width).toFixed(3));
    }
  }

  let theme = null;
  function light(printing) {
    const root = document.documentElement;
    if (printing && root.dataset.theme === "dark") {
      theme = root.dataset.theme;
      root.dataset.theme = "light";
    } else if (!printing && theme) {
      root.dataset.theme = theme;
      theme = null;
    }
  }

  window.addEventListener("load", function () {
    const typeset = window.MathJax && window.MathJax.startup ? window.MathJax.startup.promise : Promise.resolve();
    typeset.then(fit);
  });
  window.addEventListener("beforeprint", () => light(true));
  window.addEventListener("afterprint", () => light(false));
  matchMedia("print").addEventListener("change", (media) => light(media.matches));
})();
