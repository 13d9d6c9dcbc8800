/* A formula, table or output that scrolls inside itself must be reachable with the keyboard. */
(function () {
  const wide = [
    'div.math mjx-container[display="true"]',
    ".cell_output .output",
    ".cell_output table",
    ".pst-scrollable-table-container",
    "span.math mjx-container",
    "div.highlight pre",
  ].join(", ");
  function mark() {
    for (const box of document.querySelectorAll(wide)) {
      if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible") {
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
