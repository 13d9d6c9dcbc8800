/* A formula, table or output that scrolls inside itself must be reachable with the keyboard, and nothing else. */
(function () {
  const wide = [
    'div.math mjx-container[display="true"]',
    ".cell_output .output",
    ".cell_output table",
    ".pst-scrollable-table-container",
    "span.math mjx-container",
    "div.highlight pre",
    ".fit-figure",
  ].join(", ");
  const HIDDEN = 4; // pixels that are out of view before a box needs to be reached: less than a letter
  function mark() {
    for (const box of document.querySelectorAll(wide)) {
      if (box.scrollWidth > box.clientWidth + HIDDEN && getComputedStyle(box).overflowX !== "visible") {
        box.tabIndex = 0;
      } else if (box.tabIndex === 0 && box.tagName !== "PRE") {
        box.removeAttribute("tabindex");
      }
    }
  }
  window.addEventListener("load", function () {
    const typeset = window.MathJax && window.MathJax.startup ? window.MathJax.startup.promise : Promise.resolve();
    typeset.then(mark);
  });
  window.addEventListener("resize", mark);
})();
