// A new version is released, and everybody wants it now: many clients ask for the same version in the same
// moment. Releases come at a steady rate, whether or not the last one has been answered.
//
// Upstream must be asked once for each zip, whatever the number of clients and gateways: that is what
// single flight and the lock across replicas are for. In even rounds the zip is asked for first, and info
// and mod come with it; in odd rounds they come first, as with `go`. Alone they are not locked, so each
// gateway may ask for them once, and who then fetches the zip once more.

import exec from 'k6/execution';
import {
  arriving, askTogether, balancers, begin, delayMs, digests, end, expectFetches, file, gateways, handleSummary as summary,
  limitMs, modulePath, options as made, pick, seconds, trouble, upstreamCounts, vus,
} from './shared.js';

// A release comes when the last one has had the time of a fetch (info, mod and zip, one after another), the save,
// and a bit.
const ROUND_MS = 4 * delayMs + pick(300, 900);
const ROUNDS = Math.max(5, Math.ceil((seconds * 1000) / ROUND_MS) + 1);
const KINDS = ['info', 'mod', 'zip'];
// Nobody waits for much more than one fetch.
const PATIENCE_MS = 5 * delayMs + limitMs(1500, 4000);
// Releases that may be under way at a time; a killed holder of a lock keeps some waiting for a lease.
const MAX_UNDER_WAY = 40;

export const options = made(
  'stampede',
  { ...arriving(1000, 4), rate: 1, timeUnit: `${ROUND_MS}ms`, maxVUs: MAX_UNDER_WAY },
  {
    fetched_once: ['rate==1'],
    dropped_iterations: ['count<1'],
    'answer_ms{kind:zip}': [`p(95)<${PATIENCE_MS}`, `max<${4 * PATIENCE_MS}`],
  },
);

const zipFirst = (round) => round % 2 === 0;
const path = (round, kind) => file(modulePath('stampede', round % 100), round, kind);
const rounds = [...Array(ROUNDS).keys()];
const paths = rounds.flatMap((round) => KINDS.map((kind) => path(round, kind)));

export function setup() {
  return begin({ wants: digests(paths) });
}

export default function (data) {
  const round = exec.scenario.iterationInTest;
  for (const kind of zipFirst(round) ? [...KINDS].reverse() : KINDS) {
    const wanted = path(round, kind);
    if (data.wants[wanted] === undefined) return;
    const everybody = [...Array(vus)].map(() => [wanted, kind, data.wants[wanted]]);
    askTogether((at) => balancers[at % balancers.length], everybody);
  }
}

export function teardown(data) {
  end(data);
  if (trouble) return;
  const counts = upstreamCounts();
  for (const round of rounds) {
    for (const kind of KINDS) {
      const wanted = path(round, kind);
      // The last rounds are prepared, and may not have come.
      if (round >= ROUNDS - 2 && counts[wanted] === undefined) continue;
      const most = kind === 'zip' || zipFirst(round) ? 1 : gateways.length + 1;
      expectFetches(counts, wanted, most);
    }
  }
}

export const handleSummary = summary;
