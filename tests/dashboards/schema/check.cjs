// node check.cjs NODE_MODULES FILE...: holds dashboards to the types and to the units that Grafana publishes. Says
// what is wrong, one line each, and ends with 1 if anything is. NODE_MODULES has @grafana/data, @grafana/schema and
// typescript.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const [modules, ...files] = process.argv.slice(2);
const ts = require(path.join(modules, 'typescript'));
// The package is made for a browser, and looks for one as it is loaded.
globalThis.window = globalThis.window ?? {};
globalThis.navigator = globalThis.navigator ?? { language: 'en', languages: ['en'] };
const { getValueFormats } = require(path.join(modules, '@grafana/data'));

const problems = [];

// Each file becomes a module that gives its JSON the type.
const sources = new Map();
for (const file of files) {
  const text = fs.readFileSync(file, 'utf8');
  const head = "import type { Dashboard } from './dashboard'; export const dashboard: Dashboard =\n";
  sources.set(path.join(__dirname, `${path.basename(file, '.json')}.checked.ts`), head + text);
}
const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  baseUrl: modules,
  paths: { '*': [path.join(modules, '*')] },
};
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (name) => sources.has(name) || fileExists(name);
host.readFile = (name) => sources.get(name) ?? readFile(name);
host.getSourceFile = (name, language, ...rest) =>
  sources.has(name)
    ? ts.createSourceFile(name, sources.get(name), language)
    : getSourceFile(name, language, ...rest);
const program = ts.createProgram([...sources.keys()], options, host);
for (const found of ts.getPreEmitDiagnostics(program)) {
  const text = ts.flattenDiagnosticMessageText(found.messageText, ' ');
  const at = found.file?.getLineAndCharacterOfPosition(found.start);
  // The line before the JSON is ours.
  const place = found.file ? `${path.basename(found.file.fileName).replace('.checked.ts', '.json')}:${at.line}` : 'check';
  problems.push(`${place}: ${text}`);
}

const units = new Set(getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
for (const file of files) {
  for (const panel of JSON.parse(fs.readFileSync(file, 'utf8')).panels ?? []) {
    const unit = panel.fieldConfig?.defaults?.unit;
    if (panel.type !== 'row' && !units.has(unit)) {
      problems.push(`${path.basename(file)}: ${panel.title}: Grafana knows no unit ${unit}`);
    }
  }
}
problems.forEach((problem) => console.log(problem));
console.log(`${files.length} dashboards, ${units.size} units known, ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
