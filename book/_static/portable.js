/* The download of a notebook from a page on a disk, where a browser opens a file and does not save it: its copy in a script is
   loaded when it is asked for. */
(function () {
  if (location.protocol !== "file:") return;
  let wanted = "notebook.ipynb";
  window.attnflowNotebook = function (notebook) {
    const text = JSON.stringify(notebook, null, 1) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ipynb+json" }));
    link.download = wanted;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  document.addEventListener("click", function (event) {
    const link = event.target.closest('a[download][href$=".ipynb"]');
    if (!link) return;
    event.preventDefault();
    wanted = link.href.split("/").pop();
    const script = document.createElement("script");
    script.src = link.href.replace(/ipynb$/, "js");
    script.onload = () => script.remove();
    document.head.append(script);
  });
})();
