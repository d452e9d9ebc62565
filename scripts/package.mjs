// `npm run package`: builds the extension for this platform into artifacts/flan-<target>.vsix, and lists what is inside.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { createVSIX, listFiles } from '@vscode/vsce';
import { packagedReadme } from './readme.mjs';
import { must, root } from './setup.mjs';

const target = `${process.platform}-${process.arch}`;
const out = join(root, 'artifacts', `flan-${target}.vsix`);

// Only this platform's binaries: with those of all platforms the package would be five times its size.
const native = [
  `node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}`,
  `node_modules/@koromix/koffi-${target}`,
];
for (const folder of native) {
  if (existsSync(join(root, folder))) continue;
  console.error(`${folder} is missing: flan has no native parts for ${target}, or they are not installed (npm ci).`);
  process.exit(1);
}

must(process.execPath, ['esbuild.mjs', '--minify']);

mkdirSync(join(root, 'artifacts'), { recursive: true });
const ignoreFile = join(root, 'artifacts', '.vscodeignore');
const readmePath = 'artifacts/README.md';
writeFileSync(join(root, readmePath), packagedReadme(readFileSync(join(root, 'README.md'), 'utf8')));
const allowed = readFileSync(join(root, '.vscodeignore'), 'utf8');
writeFileSync(ignoreFile, `${allowed}${native.map((folder) => `!${folder}/**\n`).join('')}`);

const partial = `${out}.partial`;
await createVSIX({
  cwd: root,
  packagePath: partial,
  target,
  ignoreFile,
  readmePath,
  allowMissingRepository: true,
  rewriteRelativeLinks: false,
});
renameSync(partial, out);

const files = await listFiles({ cwd: root, ignoreFile, readmePath });
const groups = new Map();
for (const file of files) {
  const [first = '', second = '', third = ''] = file.split('/');
  const name = first === 'node_modules' ? [first, second, second.startsWith('@') ? third : ''].join('/') : first;
  const group = groups.get(name) ?? { count: 0, bytes: 0 };
  groups.set(name, { count: group.count + 1, bytes: group.bytes + statSync(join(root, file)).size });
}
rmSync(ignoreFile);
rmSync(join(root, readmePath));

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`.padStart(10);
for (const [name, { count, bytes }] of [...groups].sort((a, b) => b[1].bytes - a[1].bytes)) {
  console.log(`${megabytes(bytes)}  ${name.replace(/\/$/, '')}${count > 1 ? ` (${count} files)` : ''}`);
}
console.log(`${megabytes(statSync(out).size)}  ${relative(root, out)}`);
