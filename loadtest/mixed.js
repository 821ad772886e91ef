// A day of builds, at a steady rate of commands; each asks what `go` asks, in its order. The modules are those of a
// real program, some wanted often and most seldom (Zipf), and nothing of them is stored when the day begins. Beside
// them there are versions that nobody has asked for yet, all day long.

import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import {
  anyBalancer, arriving, ask, askTogether, begin, delayMs, digests, end, file, handleSummary as summary, limitMs, modulePath,
  options as made, rate, seconds, statuses, store, trouble,
} from './shared.js';

// Commands a second; one asks two to five times.
const RATE = rate(40, 12);
// Of a hundred commands.
const SHARES = [
  ['download', 62], // go mod download, go build: .mod, .info, .zip of one module
  ['graph', 14], // go list -m all: .mod, .info
  ['upgrade', 8], // m@latest: the list, then .info and .mod of the highest
  ['install', 5], // go install m/cmd@v: .info of every prefix of the path, and the module's files
  ['get', 4], // go get a/b/c/d: the list of every prefix, at the same time
  ['latest', 2],
  ['absent', 2], // a version that does not exist
  ['release', 3], // a version that nobody has asked for yet
];
const KINDS = ['info', 'mod', 'zip'];
// Modules that are made up, for lists and new versions, and in place of real ones where there are none.
const MODULES = 40;
// The exponent of how popular the n-th module is; near 1 in every count of downloads.
const ZIPF = 1.0;

// Lines of a module, a version and the bytes of its zip, in the order of their names; shuffled once, the same way each
// time, so that popular ones are of all kinds.
const real = new SharedArray('modules', () => {
  const lines = __ENV.GRAPH ? open(__ENV.GRAPH).trim().split('\n') : [];
  const modules = lines.map((line) => {
    const [path, version] = line.split(' ');
    return { base: `/${path}`, version };
  });
  let seed = 7;
  for (let at = modules.length - 1; at > 0; at -= 1) {
    seed = (seed * 48271) % 2147483647;
    const other = seed % (at + 1);
    [modules[at], modules[other]] = [modules[other], modules[at]];
  }
  return modules.length ? modules : [...Array(MODULES).keys()].map((number) => (
    { base: modulePath('mixed', number), version: 'v1.0.0' }
  ));
});

// The sums of the weights, to draw by.
const weights = (() => {
  let sum = 0;
  return [...Array(real.length).keys()].map((rank) => {
    sum += 1 / (rank + 1) ** ZIPF;
    return sum;
  });
})();

function popular() {
  const drawn = Math.random() * weights[weights.length - 1];
  let [low, high] = [0, weights.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (weights[middle] < drawn) low = middle + 1;
    else high = middle;
  }
  return real[low];
}

export const options = made('mixed', arriving(RATE), {
  // A gateway that cannot keep up has no free virtual user for the next command.
  dropped_iterations: [`count<${Math.max(1, Math.floor(RATE * seconds * 0.01))}`],
  'answer_ms{kind:hit}': [`p(95)<${limitMs(150, 1000)}`, `p(99)<${limitMs(400, 2000)}`],
  'answer_ms{kind:miss}': [`p(95)<${5 * delayMs + limitMs(1000, 4000)}`],
});

const of = ({ base, version }, kind) => `${base}/@v/${version}.${kind}`;
const list = ({ base }) => `${base}/@v/list`;
const latest = ({ base }) => `${base}/@latest`;
const stored = (number) => ({ base: modulePath('mixed', number), version: 'v1.0.0' });

// What stands above a module, down to the bare host; none of it is a module.
function prefixes({ base }) {
  const parts = base.split('/').slice(1);
  return parts.slice(0, -1).map((_, at) => `/${parts.slice(0, at + 1).join('/')}`);
}

export function setup() {
  const modules = [...real];
  const files = modules.flatMap((module) => KINDS.map((kind) => of(module, kind)));
  const numbers = [...Array(MODULES).keys()].map(stored);
  const asked = numbers.flatMap((module) => [list(module), latest(module), ...KINDS.map((kind) => of(module, kind))]);
  // Where something is broken meanwhile, what is wanted often shall be there: hits must not suffer.
  if (trouble) store(numbers.flatMap((module) => KINDS.map((kind) => of(module, kind))));
  const above = [...new Set(modules.flatMap(prefixes))].flatMap((path) => [`${path}/@v/list`, `${path}/@v/v1.0.0.info`]);
  return begin({ wants: { ...digests([...files, ...asked]), ...statuses(above) } });
}

function drawn() {
  let left = Math.random() * 100;
  for (const [command, share] of SHARES) {
    left -= share;
    if (left < 0) return command;
  }
  return SHARES[0][0];
}

export default function (data) {
  const where = anyBalancer();
  const one = (path, kind) => ask(where, path, kind, data.wants[path]);
  const number = Math.floor(Math.random() * MODULES);
  const module = popular();
  switch (drawn()) {
    case 'download':
      if (trouble && Math.random() < 0.5) {
        ['mod', 'info', 'zip'].forEach((kind) => one(of(stored(number), kind), 'stored'));
      } else {
        ['mod', 'info', 'zip'].forEach((kind) => one(of(module, kind), 'module'));
      }
      break;
    case 'graph':
      ['mod', 'info'].forEach((kind) => one(of(module, kind), 'module'));
      break;
    case 'upgrade':
      one(list(stored(number)), 'list');
      ['info', 'mod'].forEach((kind) => one(of(stored(number), kind), trouble ? 'stored' : 'module'));
      break;
    case 'install':
      for (const above of prefixes(module)) one(`${above}/@v/v1.0.0.info`, 'absent');
      ['info', 'mod', 'zip'].forEach((kind) => one(of(module, kind), 'module'));
      break;
    case 'get':
      askTogether(() => where, prefixes(module).map((above) => (
        [`${above}/@v/list`, 'absent', data.wants[`${above}/@v/list`]]
      )));
      break;
    case 'latest':
      one(latest(stored(number)), 'latest');
      break;
    case 'absent':
      ask(where, `${modulePath('mixed', number)}/@v/v0.${exec.scenario.iterationInTest}.0.info`, 'absent', { status: 404 });
      break;
    default:
      for (const kind of KINDS) {
        // A version of its own for each turn, of modules that are not in the lists above.
        const wanted = file(modulePath('mixed', MODULES + number), exec.scenario.iterationInTest, kind);
        ask(where, wanted, 'miss', digests([wanted])[wanted]);
      }
  }
}

export const teardown = end;
export const handleSummary = summary;
