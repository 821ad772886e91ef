// A working day at a steady rate: of a hundred requests 90 are for what is stored, 4 for versions that
// nobody has asked for yet, 3 for lists, 2 for versions that do not exist, 1 for the latest version.

import exec from 'k6/execution';
import {
  anyGateway, ask, begin, delayMs, digests, end, file, handleSummary as summary, limitMs, modulePath, options as made,
  pick, seconds, store, vus,
} from './shared.js';

const MODULES = 40;
const KINDS = ['info', 'mod', 'zip'];
const RATE = Number(__ENV.RATE || pick(150, 40));

export const options = made(
  'mixed',
  {
    executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: `${seconds}s`, preAllocatedVUs: vus,
  },
  {
    // A gateway that cannot keep up has no free virtual user for the next request.
    dropped_iterations: [`count<${Math.max(1, Math.floor(RATE * seconds * 0.01))}`],
    'answer_ms{kind:hit}': [`p(95)<${limitMs(150, 1000)}`, `p(99)<${limitMs(400, 2000)}`],
    'answer_ms{kind:miss}': [`p(95)<${5 * delayMs + limitMs(1000, 4000)}`],
    'hits{kind:hit}': ['rate>0.999'],
  },
);

const stored = (number, kind) => file(modulePath('mixed', number), 0, kind);

export function setup() {
  const numbers = [...Array(MODULES).keys()];
  const paths = numbers.flatMap((number) => KINDS.map((kind) => stored(number, kind)));
  store(paths);
  store(paths);
  const asked = numbers.flatMap((number) => [`${modulePath('mixed', number)}/@v/list`]);
  const latest = numbers.flatMap((number) => [`${modulePath('mixed', number)}/@latest`]);
  return begin({ wants: digests([...paths, ...asked, ...latest]) });
}

export default function (data) {
  const turn = exec.scenario.iterationInTest;
  const number = Math.floor(Math.random() * MODULES);
  const module = modulePath('mixed', number);
  const share = Math.random() * 100;
  if (share < 90) {
    const wanted = stored(number, KINDS[Math.floor(Math.random() * KINDS.length)]);
    ask(anyGateway(), wanted, 'hit', data.wants[wanted]);
  } else if (share < 94) {
    // A version of its own for each turn, of modules that are not in the lists above; as `go` asks.
    for (const kind of KINDS) {
      const wanted = file(modulePath('mixed', MODULES + number), turn, kind);
      ask(anyGateway(), wanted, 'miss', digests([wanted])[wanted]);
    }
  } else if (share < 97) {
    const wanted = `${module}/@v/list`;
    ask(anyGateway(), wanted, 'list', data.wants[wanted]);
  } else if (share < 99) {
    // A major version that the module does not have.
    ask(anyGateway(), `${module}/@v/v0.${turn}.0.info`, 'absent', { status: 404 });
  } else {
    const wanted = `${module}/@latest`;
    ask(anyGateway(), wanted, 'latest', data.wants[wanted]);
  }
}

export const teardown = end;
export const handleSummary = summary;
