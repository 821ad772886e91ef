// What the scenarios share: where to send requests, one checked request, thresholds, the summary.
//
// `cargo xtask load` sets the variables. To use a scenario against gateways of your own, see
// docs/load-testing.md.

import { sha256 } from 'k6/crypto';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

const number = (name, otherwise) => Number(__ENV[name] || otherwise);

export const gateways = (__ENV.GATEWAYS || 'http://127.0.0.1:3000').split(',');
// Where clients ask: the balancer before the gateways, if there is one.
export const balancers = __ENV.BALANCER ? [__ENV.BALANCER] : gateways;
export const smoke = __ENV.SMOKE === 'yes';
// Something is broken meanwhile: how long answers take is stated then, and not judged.
export const trouble = __ENV.TROUBLE === 'yes';
const gentle = smoke || __ENV.GENTLE === 'yes';
export const vus = number('VUS', 30);
export const seconds = number('SECONDS', 30);
export const delayMs = number('DELAY_MS', 100);
const upstream = __ENV.UPSTREAM;

// Messages that one virtual user may print, and users that may; the counts are in the summary.
const MAX_TOLD = 2;
const MAX_TELLING_USERS = 5;
// Requests that the preparation has under way at a time.
const PREPARED_AT_ONCE = 20;
// k6's own limit on requests that one user has under way at a time.
const MAX_BATCH = 200;

// What is measured. The requests of the preparation are in none of these.
const answers = new Counter('answers'); // answers of gateways
const answerMs = new Trend('answer_ms', true); // from the request to the last byte
const failed = new Rate('failed'); // no answer, or not the status that is right
const wrong = new Rate('wrong'); // the right status, and not the right bytes or length
const hits = new Rate('hits'); // what the gateway says in Cache-Status
const loadSeconds = new Gauge('load_seconds'); // how long the load itself took
const fetchedOnce = new Rate('fetched_once'); // files that upstream was asked for as often as it should be

// The options of a scenario, with the thresholds that every one has.
export function options(name, how, limits) {
  return {
    scenarios: { [name]: { gracefulStop: '60s', ...how } },
    thresholds: {
      failed: [__ENV.FAILED || 'rate==0'], wrong: ['rate==0'], answers: ['count>0'], ...(trouble ? {} : limits),
    },
    summaryTrendStats: ['min', 'avg', 'med', 'p(95)', 'p(99)', 'max'],
    setupTimeout: '300s',
    teardownTimeout: '60s',
    batch: MAX_BATCH,
    batchPerHost: MAX_BATCH,
  };
}

// `full` for an optimised gateway, `short` for the smoke test's, which is not optimised.
export const pick = (full, short) => (smoke ? short : full);

// Milliseconds that answers may take, for a gateway that is optimised or not; `--patience` stretches them on
// slow machines.
export const limitMs = (full, short) => number('PATIENCE', 1) * (gentle ? short : full);

// Requests a second: `--rate`, else what the scenario wants.
export const rate = (full, short) => Number(__ENV.RATE || pick(full, short));

// Arrivals at a steady rate, whether or not what came before has been answered. Where gateways are slow more users
// are made, so that who waits keeps nobody else from coming; arrivals for which there is no user are dropped and counted.
export const arriving = (perSecond, users = vus) => ({
  executor: 'constant-arrival-rate', rate: perSecond, timeUnit: '1s', duration: `${seconds}s`,
  preAllocatedVUs: users, maxVUs: 20 * users,
});

// === Modules ===

// The upstream makes up `load.test/SCENARIO/mN` with the versions `v1.N.0`.
export const modulePath = (scenario, number) => `/load.test/${scenario}/m${number}`;
export const file = (module, version, kind) => `${module}/@v/v1.${version}.0.${kind}`;

// The length and hash of the right answer to each path, as the upstream knows it: `{ path: want }`.
export function digests(paths) {
  const known = {};
  for (let from = 0; from < paths.length; from += PREPARED_AT_ONCE) {
    const some = paths.slice(from, from + PREPARED_AT_ONCE);
    const said = http.batch(some.map((path) => ['GET', `${upstream}/__digest${path}`]));
    some.forEach((path, at) => {
      if (said[at].status !== 200) exec.test.abort(`upstream does not know ${path}: ${said[at].status}`);
      const [length, hash] = said[at].body.trim().split(' ');
      known[path] = { length: Number(length), hash };
    });
  }
  return known;
}

// The same for what may not exist: then the right answer is the status that upstream gives.
export function statuses(paths) {
  const known = {};
  for (let from = 0; from < paths.length; from += PREPARED_AT_ONCE) {
    const some = paths.slice(from, from + PREPARED_AT_ONCE);
    const said = http.batch(some.map((path) => ['GET', `${upstream}/__digest${path}`]));
    some.forEach((path, at) => {
      known[path] = { status: said[at].status };
    });
  }
  return known;
}

// Brings files into the gateways' store, and sees that every gateway serves them from there.
export function store(paths) {
  for (const gateway of gateways) {
    for (let from = 0; from < paths.length; from += PREPARED_AT_ONCE) {
      const some = paths.slice(from, from + PREPARED_AT_ONCE);
      const got = http.batch(some.map((path) => ['GET', gateway + path]));
      const bad = got.findIndex((answer) => answer.status !== 200);
      if (bad >= 0) exec.test.abort(`${gateway}${some[bad]} cannot be stored: ${got[bad].status}`);
    }
  }
}

// How often upstream was asked for each path: `{ path: count }`.
export function upstreamCounts() {
  const counts = {};
  for (const line of http.get(`${upstream}/__counts`).body.trim().split('\n')) {
    const at = line.indexOf(' ');
    counts[line.slice(at + 1)] = Number(line.slice(0, at));
  }
  return counts;
}

// Upstream was asked for `path` from once to `most` times.
export function expectFetches(counts, path, most) {
  const count = counts[path] || 0;
  const good = count >= 1 && count <= most;
  fetchedOnce.add(good);
  if (!good) tell(`upstream was asked ${count} times for ${path}`);
}

// === Requests ===

// The next place where clients ask.
export const anyBalancer = () => balancers[(exec.vu.idInTest + exec.vu.iterationInInstance) % balancers.length];

// Asks for a path and holds the answer to `want`: `{ length, hash }`, or `{ status }` for an answer without
// content that is known. `kind` is the tag under which it is measured.
export function ask(gateway, path, kind, want) {
  judge(path, kind, want, http.get(gateway + path, { responseType: 'binary', tags: { name: kind } }));
}

// Asks for some paths at the same time, as many clients would: `[path, kind, want]`.
export function askTogether(gatewayOf, wants) {
  const said = http.batch(wants.map(([path, kind], at) => (
    ['GET', gatewayOf(at) + path, null, { responseType: 'binary', tags: { name: kind } }]
  )));
  wants.forEach(([path, kind, want], at) => judge(path, kind, want, said[at]));
}

// `module` stands for `hit` or `miss`, whichever the gateway says it was.
function judge(path, wanted, want, answer) {
  const hit = /; *hit\b/.test(answer.headers['Cache-Status'] || '');
  const kind = wanted === 'module' ? kindOf(answer, hit) : wanted;
  const status = want.status || 200;
  answers.add(1, { kind });
  const bad = answer.status !== status;
  failed.add(bad, { kind });
  if (bad) {
    tell(`${path}: ${answer.status} in place of ${status}: ${answer.error || 'see the gateway\'s log'}`);
    return;
  }
  answerMs.add(answer.timings.duration, { kind });
  hits.add(hit, { kind });
  if (!want.hash) return;
  const why = difference(answer, want);
  wrong.add(why !== '', { kind });
  if (why !== '') tell(`${path}: ${why}`);
}

// A presigned redirect was followed, and the store says nothing of caches: the bytes were there.
const kindOf = (answer, hit) => (hit || /X-Amz-Signature/.test(answer.url) ? 'hit' : 'miss');

// What is wrong with an answer; the empty text, where nothing is.
function difference(answer, want) {
  const bytes = answer.body ? answer.body.byteLength : 0;
  const promised = answer.headers['Content-Length'];
  if (promised !== undefined && Number(promised) !== want.length) {
    return `Content-Length is ${promised}, right is ${want.length}`;
  }
  if (bytes !== want.length) return `${bytes} bytes, right are ${want.length}`;
  const hash = sha256(answer.body, 'hex');
  return hash === want.hash ? '' : `the SHA-256 is ${hash}, right is ${want.hash}`;
}

let told = 0;
function tell(what) {
  told += 1;
  if (told <= MAX_TOLD && exec.vu.idInTest <= MAX_TELLING_USERS) console.error(what);
}

// === Beginning and end ===

// What `setup` hands to the others: with the moment at which the load begins.
export const begin = (data) => ({ ...data, began: Date.now() });

// The first thing that `teardown` does.
export const end = (data) => loadSeconds.add((Date.now() - data.began) / 1000);

// One file with all that k6 knows, and one of plain lines that `cargo xtask load` reads.
export function handleSummary(data) {
  const values = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const load = values('load_seconds').value || 0;
  const count = values('answers').count || 0;
  const times = values('answer_ms');
  const facts = [
    ['answers', count],
    ['seconds', load],
    ['rps', load > 0 ? count / load : 0],
    ['p50_ms', times.med || 0],
    ['p95_ms', times['p(95)'] || 0],
    ['p99_ms', times['p(99)'] || 0],
    ['max_ms', times.max || 0],
    ['failed', values('failed').passes || 0],
    ['wrong', values('wrong').passes || 0],
    ['hit_ratio', values('hits').rate || 0],
  ].map(([name, value]) => `fact ${name} ${value}`);
  for (const [name, metric] of Object.entries(data.metrics)) {
    const kind = /^answer_ms\{kind:(\w+)\}$/.exec(name);
    if (kind && metric.values['p(95)']) facts.push(`fact p95_ms_of_${kind[1]} ${metric.values['p(95)']}`);
    for (const [rule, result] of Object.entries(metric.thresholds || {})) {
      facts.push(`threshold ${result.ok ? 'kept' : 'FAILED'} ${name} ${rule.replace(/ /g, '')}`);
    }
  }
  const out = __ENV.OUT;
  if (!out) return { stdout: `${facts.join('\n')}\n` };
  return { [`${out}.json`]: JSON.stringify(data, null, 1), [`${out}.facts`]: `${facts.join('\n')}\n` };
}
