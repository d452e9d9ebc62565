// `npm start`: from a clean checkout to three streamed answers by the built-in model, then what to do for real work.
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { buildIfStale, install, must, root } from './setup.mjs';

install();
buildIfStale();

const cli = join(root, 'dist', 'cli.js');
const code = join(root, 'scripts', 'samples', 'retry.py');
const text = join(root, 'scripts', 'samples', 'keeper.txt');

function show(title, file, args) {
  console.log(`\n\u2500\u2500 ${title}\n`);
  console.log(readFileSync(file, 'utf8').trimEnd().replace(/^/gm, '    '));
  console.log();
  must(process.execPath, [cli, ...args]);
}

show('Explain a function', code, ['explain', code]);
show('Summarize a text', text, ['summarize', text]);
show('Ask about a text', text, ['ask', 'What does the option keep-days set?', text]);
must(process.execPath, [cli, 'stop'], { stdio: 'ignore' });

const vsix = join('artifacts', `flan-${process.platform}-${process.arch}.vsix`);
const command = `code --install-extension ${vsix}`;
const flan = `node ${relative(process.cwd(), cli)}`;
console.log(`
\u2500\u2500 Next

These answers came from the built-in demonstration model (26 M parameters). For real work:
  in the editor     ${existsSync(join(root, vsix)) ? '' : 'npm run package, then '}${command}
  a real model      google/flan-ul2 (20 B, int8: a 24 GB card) or google/flan-t5-xl (3 B). How: ${flan} pull --help
  this machine      ${flan} doctor
`);
