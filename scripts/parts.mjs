// A bundle in parts. Node compiles and runs a file in one go, and an extension host has other things to do meanwhile: a
// large library is cut into files of some kilobytes, which are loaded one after another with a rest between them.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { build } from 'esbuild';

/** What a part holds before its modules are minified away: a few milliseconds to compile and run. */
const PART_BYTES = 40_000;

/**
 * Builds `entry` as `OUTDIR/NAME.js`, and the modules of `node_modules` that it needs as `OUTDIR/NAME-1.js` and so on.
 * `exports.modules` of a part are functions that run one module each. Returns the parts in the order in which a plain
 * bundle runs their modules: a module of one part finds what it needs in those before it.
 */
export async function buildInParts({ entry, name, options }) {
  const { outdir } = options;
  // An earlier build may have had more parts, and whatever is there is packaged.
  const earlier = existsSync(outdir) ? readdirSync(outdir) : [];
  for (const each of earlier) if (each.startsWith(`${name}-`)) rmSync(join(outdir, each));
  const plugins = [...(options.plugins ?? []), withoutCopies, withoutVersions];
  const whole = await build({ ...options, entryPoints: [entry], plugins, write: false, metafile: true });
  const groups = grouped(whole.metafile, entry);
  const partOf = new Map(groups.flatMap((group, index) => group.map((module) => [module, index + 1])));
  const file = (part) => `./${name}-${part}.js`;
  const shared = (own) => ({ ...options, plugins: [elsewhere(partOf, own, file), ...plugins] });
  await Promise.all([
    build({ ...shared(0), entryPoints: { [name]: entry } }),
    ...groups.map((group, index) =>
      build({
        ...shared(index + 1),
        entryPoints: undefined,
        outdir: undefined,
        outfile: join(outdir, `${name}-${index + 1}.js`),
        stdin: {
          contents: `exports.modules = {\n${group.map((module) => `${key(module)}: () => require(${key(`./${module}`)}),`).join('\n')}\n};`,
          resolveDir: '.',
        },
      }),
    ),
  ]);
  return groups.map((_, index) => file(index + 1));
}

const key = (text) => JSON.stringify(text);

/** Modules of packages, by the order in which they run, in groups of at most `PART_BYTES` or one module. */
function grouped({ inputs, outputs }, entry) {
  const [{ inputs: sizes }] = Object.values(outputs).filter(({ entryPoint }) => entryPoint === entry);
  const groups = [];
  let bytes = Number.POSITIVE_INFINITY;
  const seen = new Set();
  const visit = (path) => {
    if (seen.has(path) || inputs[path] === undefined) return;
    seen.add(path);
    for (const { path: needed, external } of inputs[path].imports) if (external !== true) visit(needed);
    if (!path.startsWith('node_modules/')) return;
    const size = sizes[path]?.bytesInOutput ?? 0;
    if (bytes + size > PART_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1).push(path);
    bytes += size;
  };
  visit(entry);
  return groups;
}

/** Modules of other parts are asked for there, when they are needed. */
const elsewhere = (partOf, own, file) => ({
  name: 'elsewhere',
  setup: ({ onResolve, onLoad, resolve }) => {
    onResolve({ filter: /.*/ }, async ({ path, importer, resolveDir, kind, namespace, pluginData }) => {
      if (namespace === 'part') return { path, external: true };
      if (pluginData === 'resolved' || importer === '') return undefined;
      const found = await resolve(path, { importer, resolveDir, kind, pluginData: 'resolved' });
      if (found.external || found.errors.length > 0) return found;
      const module = relative('.', found.path).replaceAll('\\', '/');
      const part = partOf.get(module);
      return part === undefined || part === own ? found : { path: module, namespace: 'part', pluginData: part };
    });
    onLoad({ filter: /.*/, namespace: 'part' }, ({ path, pluginData }) => ({
      contents: `module.exports = require(${key(file(pluginData))}).modules[${key(path)}]();`,
    }));
  },
});

/** TypeScript's `__importStar` copies all names of a module for each file that imports it: of the editor's API, 411. */
const withoutCopies = {
  name: 'without-copies',
  setup: ({ onLoad }) => {
    onLoad({ filter: /[\\/]node_modules[\\/]vscode-[^\\/]*[\\/].*\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replaceAll(/__importStar\((require\("[^"]+"\))\)/g, '$1'),
      loader: 'js',
    }));
  },
};

/**
 * The language client compares the editor's version with the oldest that it works in. `engines` in package.json asks for a
 * newer one, and the comparison takes longer than to connect.
 */
const withoutVersions = {
  name: 'without-versions',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^semver\/functions\/(?:parse|satisfies)$/ }, ({ path }) => ({ path, namespace: 'versions' }));
    onLoad({ filter: /.*/, namespace: 'versions' }, ({ path }) => ({
      contents: `module.exports = ${path.endsWith('parse') ? '() => ({ prerelease: [] })' : '() => true'};`,
    }));
  },
};
