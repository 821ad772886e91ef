// A new version is out, and everybody wants it now: all virtual users ask both gateways for the same
// version in the same moment, and for the next one in the next round.
//
// Upstream must be asked once for each zip, whatever the number of clients and gateways: that is what
// single flight and the lock across replicas are for. In even rounds the zip is asked for first, and info
// and mod come with it; in odd rounds they come first, as with `go`. Alone they are not locked, so each
// gateway may ask for them once, and who then fetches the zip once more.

import { sleep } from 'k6';
import exec from 'k6/execution';
import {
  ask, begin, delayMs, digests, end, expectFetches, file, gateways, handleSummary as summary, limitMs, modulePath,
  options as made, pick, seconds, upstreamCounts, vus,
} from './shared.js';

// A round lasts as long as a fetch (info, mod and zip, one after another), the save, and a bit.
const ROUND_MS = 4 * delayMs + pick(300, 900);
const ROUNDS = Math.max(5, Math.floor((seconds * 1000) / ROUND_MS));
const KINDS = ['info', 'mod', 'zip'];
// Nobody waits for much more than one fetch.
const PATIENCE_MS = 5 * delayMs + limitMs(1500, 4000);

export const options = made(
  'stampede',
  { executor: 'per-vu-iterations', vus, iterations: ROUNDS, maxDuration: `${3 * seconds + 30}s` },
  {
    fetched_once: ['rate==1'],
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
  const round = exec.vu.iterationInScenario;
  const early = data.began + round * ROUND_MS - Date.now();
  if (early > 0) sleep(early / 1000);
  const gateway = gateways[exec.vu.idInTest % gateways.length];
  for (const kind of zipFirst(round) ? [...KINDS].reverse() : KINDS) {
    const wanted = path(round, kind);
    ask(gateway, wanted, kind, data.wants[wanted]);
  }
}

export function teardown(data) {
  end(data);
  const counts = upstreamCounts();
  for (const round of rounds) {
    for (const kind of KINDS) {
      const most = kind === 'zip' || zipFirst(round) ? 1 : gateways.length + 1;
      expectFetches(counts, path(round, kind), most);
    }
  }
}

export const handleSummary = summary;
