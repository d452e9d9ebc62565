/** The editor's language id of a file, by its name: the command line has no editor to ask. */
import { basename, extname } from 'node:path';

/** By file extension or whole name; what is not listed here is `plaintext`. */
const LANGUAGES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    bat: ['.bat', '.cmd'],
    c: ['.c', '.h'],
    cpp: ['.cpp', '.cc', '.cxx', '.hpp', '.hh', '.hxx', '.cu', '.cuh'],
    csharp: ['.cs'],
    css: ['.css'],
    dockerfile: ['dockerfile'],
    fsharp: ['.fs'],
    go: ['.go'],
    html: ['.html', '.htm'],
    java: ['.java'],
    javascript: ['.js', '.mjs', '.cjs'],
    javascriptreact: ['.jsx'],
    json: ['.json'],
    jsonc: ['.jsonc'],
    julia: ['.jl'],
    kotlin: ['.kt', '.kts'],
    latex: ['.tex'],
    less: ['.less'],
    lua: ['.lua'],
    makefile: ['makefile', '.mk'],
    markdown: ['.md', '.markdown'],
    'objective-c': ['.m'],
    perl: ['.pl', '.pm'],
    php: ['.php'],
    powershell: ['.ps1', '.psm1'],
    python: ['.py', '.pyi'],
    r: ['.r'],
    restructuredtext: ['.rst'],
    ruby: ['.rb'],
    rust: ['.rs'],
    scala: ['.scala'],
    scss: ['.scss'],
    shellscript: ['.sh', '.bash', '.zsh'],
    sql: ['.sql'],
    swift: ['.swift'],
    toml: ['.toml'],
    typescript: ['.ts', '.mts', '.cts'],
    typescriptreact: ['.tsx'],
    vue: ['.vue'],
    xml: ['.xml', '.svg'],
    yaml: ['.yaml', '.yml'],
  }).flatMap(([id, names]) => names.map((name) => [name, id] as const)),
);

export function languageOf(path: string): string {
  const name = basename(path).toLowerCase();
  return LANGUAGES.get(extname(name)) ?? LANGUAGES.get(name) ?? 'plaintext';
}
