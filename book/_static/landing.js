/* The moving figure of the first page: many starts of the flow of two weights, each on its own hyperbola. The slopes are those of
   chapter 1, from explorables/formulas/foundations.js, which loads after this. The still picture stays where nothing moves. */
window.attnflow = window.attnflow || { formulas: {} };

document.addEventListener("DOMContentLoaded", function () {
  "use strict";
  const figure = document.querySelector(".landing-hero figure");
  const of = attnflow.formulas.foundations;
  if (!figure || !of || window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;

  const REACH = 2.3, TARGET = 1, STARTS = 90, SECONDS = 9, UNITS = 4.5, STEP = 0.01;
  const picture = figure.querySelector("img");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", picture.alt);
  const pause = document.createElement("button");
  pause.type = "button";
  pause.className = "landing-pause";
  picture.after(canvas, pause);
  figure.classList.add("landing-moves");
  const pen = canvas.getContext("2d");
  let runs = [], began = null, passed = 0, playing = true, visible = true, pending = 0;

  const slope = ([a, b]) => [of.slope_a(a, b, TARGET, 0), of.slope_b(a, b, TARGET, 0)];
  const moved = (at, along, size) => [at[0] + size * along[0], at[1] + size * along[1]];

  function advance(at) {
    const one = slope(at), two = slope(moved(at, one, STEP / 2)), three = slope(moved(at, two, STEP / 2)), four = slope(moved(at, three, STEP));
    return at.map((value, axis) => value + (STEP / 6) * (one[axis] + 2 * two[axis] + 2 * three[axis] + four[axis]));
  }

  function begin() {
    passed = 0;
    runs = Array.from({ length: STARTS }, () => {
      const path = [[0, 0].map(() => (2 * Math.random() - 1) * 0.75 * REACH)];
      while (path.length <= UNITS / STEP) path.push(advance(path[path.length - 1]));
      return path;
    });
  }

  function line(points, colour, width, dashes = []) {
    const size = canvas.width, scale = size / (2 * REACH);
    pen.beginPath();
    for (const [place, [a, b]] of points.entries()) pen[place ? "lineTo" : "moveTo"](size / 2 + a * scale, size / 2 - b * scale);
    pen.strokeStyle = colour;
    pen.lineWidth = width * devicePixelRatio;
    pen.setLineDash(dashes.map((each) => each * devicePixelRatio));
    pen.stroke();
  }

  function draw() {
    const size = Math.round(canvas.clientWidth * devicePixelRatio), style = getComputedStyle(canvas);
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const [ink, red, plus, minus] = ["ink", "red", "plus", "minus"].map((name) => style.getPropertyValue(`--landing-${name}`));
    pen.clearRect(0, 0, size, size);
    const along = Array.from({ length: 61 }, (_, place) => TARGET / REACH + ((REACH - TARGET / REACH) * place) / 60);
    for (const side of [1, -1]) line(along.map((a) => [side * a, (side * TARGET) / a]), ink, 2.5);
    line([[-REACH, REACH], [REACH, -REACH]], red, 1.5, [5, 4]);
    const now = Math.floor((passed / SECONDS) * (UNITS / STEP));
    for (const path of runs) {
      const colour = path[0][0] + path[0][1] > 0 ? plus : minus;
      pen.globalAlpha = 0.35;
      line(path.slice(0, now + 1), colour, 1.2);
      pen.globalAlpha = 1;
      line(path.slice(Math.max(0, now - 12), now + 1), colour, 3);
    }
    pause.textContent = playing ? "Pause" : "Play";
  }

  function frame(time) {
    pending = 0;
    passed += began === null ? 0 : Math.min(time - began, 100) / 1000;
    began = time;
    if (passed > SECONDS) begin();
    draw();
    request();
  }

  function request() {
    if (playing && visible && !pending) pending = requestAnimationFrame(frame);
    else if (!playing || !visible) began = null;
  }

  pause.addEventListener("click", function () {
    playing = !playing;
    draw();
    request();
  });
  new IntersectionObserver(function (entries) {
    visible = entries[entries.length - 1].isIntersecting;
    request();
  }).observe(canvas);
  new ResizeObserver(draw).observe(canvas);
  begin();
  draw();
});
