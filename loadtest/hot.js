// Everything is stored: how fast are hits, and are they all hits?
//
// Requests come at a steady rate, so one that is answered late keeps none of the others from being asked.

import {
  anyBalancer, arriving, ask, begin, digests, end, file, handleSummary as summary, limitMs, modulePath, options as made,
  rate, seconds, store,
} from './shared.js';

const MODULES = 40;
const RATE = rate(400, 60);
// Of a hundred requests: what `go` asks for when its own cache is cold, and lists now and then.
const SHARES = [['info', 30], ['mod', 30], ['zip', 30], ['list', 10]];

export const options = made(
  'hot',
  arriving(RATE),
  {
    dropped_iterations: [`count<${Math.max(1, Math.floor(RATE * seconds * 0.01))}`],
    hits: ['rate>0.999'],
    answer_ms: [`p(95)<${limitMs(150, 750)}`, `p(99)<${limitMs(400, 1500)}`],
    'answer_ms{kind:info}': [`p(95)<${limitMs(100, 750)}`],
    'answer_ms{kind:mod}': [`p(95)<${limitMs(100, 750)}`],
  },
);

const path = (number, kind) => {
  const module = modulePath('hot', number);
  return kind === 'list' ? `${module}/@v/list` : file(module, 0, kind);
};

export function setup() {
  const numbers = [...Array(MODULES).keys()];
  const paths = numbers.flatMap((number) => SHARES.map(([kind]) => path(number, kind)));
  // Twice: a gateway streams the first zip to us before it has stored it.
  store(paths);
  store(paths);
  return begin({ wants: digests(paths) });
}

function drawn() {
  let left = Math.random() * 100;
  for (const [kind, share] of SHARES) {
    left -= share;
    if (left < 0) return kind;
  }
  return 'list';
}

export default function (data) {
  const kind = drawn();
  const wanted = path(Math.floor(Math.random() * MODULES), kind);
  ask(anyBalancer(), wanted, kind, data.wants[wanted]);
}

export const teardown = end;
export const handleSummary = summary;
