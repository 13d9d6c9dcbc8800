/* Chapter 5: the density of the heads in three blocks. Drawing; the density at the start comes from formulas/density.js, and beside
   it lie the runs of the library that are played: finite volumes, and heads that flow by themselves. */
(function () {
  "use strict";
  const { times, width, centres, shares, teacher, runs } = attnflow.stored.density;
  const END = times[times.length - 1], SIDE = width / 2 - centres[0], THOUSAND = 1000, LEVELS = [1.2, 4.2];
  const BLOCKS = runs[0].density[0].map((_, block) => block);
  const decayOf = ({ decay }) => `${decay}`;

  const grid = (low, high, count) => Array.from({ length: count + 1 }, (_, place) => low + ((high - low) * place) / count);

  /* Numbers of two frames, mixed for a time between them. */
  function mixed(frames, t) {
    const after = Math.max(1, times.findIndex((time) => time >= t - 1e-9)), before = after - 1;
    const share = (t - times[before]) / (times[after] - times[before]);
    const mix = (one, other) => (Array.isArray(one) ? one.map((value, place) => mix(value, other[place])) : one + share * (other - one));
    return mix(frames[before], frames[after]);
  }

  /* The mass of a density left of a place; inside a cell it is even. */
  const massLeft = (across, density, place) => density.reduce(
    (sum, value, cell) => sum + value * Math.min(width, Math.max(0, place - across[cell] + width / 2)), 0);

  function setup(stage) {
    const line = grid(-SIDE, SIDE, 200), dashed = { dash: 2, strokeWidth: 1.4 };
    stage.draws = { blocks: [] };
    for (const block of BLOCKS) {
      const board = stage.board(`block${block + 1}`, {
        title: `Density \u03c1 of the heads, block ${block + 1}`, box: [-SIDE, 1.2, SIDE, -0.2], across: "\u03b8", up: "",
        legend: [["run", "now"], ["ghost", "at the start"], ["theory", "teacher"], ["target", "followed"]],
      });
      const poles = stage.curve(board, "theory", dashed), began = stage.curve(board, "ghost", { strokeWidth: 1.6 });
      const top = LEVELS[LEVELS.length - 1];
      poles(teacher.flatMap((place) => [place, place, NaN]), teacher.flatMap(() => [0, top, NaN]));
      began(line, line.map(stage.formulas.initial));
      stage.draws.blocks.push({
        board, now: stage.curve(board, "run", { strokeWidth: 2.6 }), heads: stage.curve(board, "theory", { strokeWidth: 1.4 }),
        followed: stage.dot(board, "target"),
      });
    }
    const board = stage.board("objective", {
      title: "Objective", box: [-1.6, 0.2, END * 1.03, -0.03], across: "t", up: "\ud835\udcac",
      legend: [["run", "objective"], ["theory", "its start less what the velocity paid"]],
    });
    stage.draws.objective = {
      whole: stage.curve(board, "run", { strokeWidth: 4, strokeOpacity: 0.5 }),
      theory: stage.curve(board, "theory", dashed), now: stage.dot(board, "run"),
    };
  }

  function solve(stage) {
    const run = (stage.run = runs.find((one) => decayOf(one) === stage.state.decay));
    const highest = Math.max(...run.density.flat(2)) / THOUSAND, level = LEVELS.find((one) => one >= highest);
    stage.across = centres.slice(run.first, run.first + run.density[0][0].length);
    if (level !== stage.level) for (const { board } of stage.draws.blocks) stage.view(board, [-SIDE, level, SIDE, -0.14 * level]);
    stage.level = level;
    stage.tick = [0, 0.06 * level];
    stage.draws.objective.whole(times, run.objective);
    stage.draws.objective.theory(times, run.paid.map((paid) => run.objective[0] - paid));
  }

  function draw(stage) {
    const { state, draws, run, across, tick } = stage, which = state.head - 1;
    const rows = mixed(run.density, state.t).map((row) => row.map((value) => value / THOUSAND));
    const heads = mixed(run.heads, state.t).map((row) => row.map((value) => value / THOUSAND));
    for (const block of BLOCKS) {
      const own = draws.blocks[block], place = heads[block][which];
      own.now([across[0] - width, ...across, across[across.length - 1] + width], [0, ...rows[block], 0]);
      own.heads(heads[block].flatMap((head) => [head, head, NaN]), heads[block].flatMap(() => [...tick, NaN]));
      own.followed(place, 0);
    }
    draws.objective.now(state.t, mixed(run.objective, state.t));
    stage.show("head", heads.map((row) => row[which]));
    stage.show("left", heads.map((row, block) => massLeft(across, rows[block], row[which])));
    stage.show("share", BLOCKS.map(() => shares[which]));
    stage.show("mass", rows.map((row) => massLeft(across, row, Infinity)));
    stage.show("square", rows.map((row) => row.reduce((sum, value, cell) => sum + width * value * across[cell] ** 2, 0)));
  }

  attnflow.explorable("density", {
    end: END, duration: 8, clock: "time t", unit: "units of time",
    start: {}, ranges: {},
    controls: [
      { key: "decay", label: "weight decay \u03bb", options: runs.map((run) => [decayOf(run), `${run.decay} per unit of time`]) },
      { key: "head", label: "head to follow, from the left", unit: `of ${shares.length}`, min: 1, max: shares.length, step: 1,
        value: 12, digits: 0 },
    ],
    presets: [
      { label: "One hump tears", state: {},
        text: "Try: play, and follow one head after the other. Expect: each goes down its own slope and takes its mass with it; the share left of it stays what it was." },
      { label: "No decay", state: { decay: "0" },
        text: "Try: \u03bb = 0. Expect: the objective goes to zero, and heads spread far beyond those of the teacher: nothing charges them for their size." },
      { label: "More decay", state: { decay: "0.2" },
        text: "Try: \u03bb = 0.2. Expect: the hump tears later and not as far, for the decay charges for the size of a head; the objective ends higher." },
      { label: "Collapse", state: { decay: "0.4", head: 3 },
        text: "Try: \u03bb = 0.4. Expect: all heads go to zero. As soon as the peak is narrower than a few cells, the finite volumes blur it, and the shares no longer agree." },
    ],
    table: {
      columns: ["block 1", "block 2", "block 3"],
      rows: [["head", "place <i>\u03b8</i> of the followed head"], ["left", "mass left of it, by finite volumes"],
        ["share", "mass left of it, predicted"], ["mass", "mass of the whole density"], ["square", "mean of <i>\u03b8</i>\u00b2"]],
    },
    setup, solve, draw,
  });
})();
