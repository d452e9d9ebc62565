/** What people call the languages that an editor knows by id: prompts use the names that documentation uses. */

/** Texts that people read rather than run; a question about them is about what they say. */
const PROSE = new Set(['text', 'markdown', 'latex', 'tex', 'restructuredtext', 'asciidoc', 'org', 'git-commit', 'log']);

const NAMES: ReadonlyMap<string, string> = new Map([
  ['abap', 'ABAP'],
  ['bat', 'batch'],
  ['c', 'C'],
  ['clojure', 'Clojure'],
  ['coffeescript', 'CoffeeScript'],
  ['cpp', 'C++'],
  ['csharp', 'C#'],
  ['css', 'CSS'],
  ['cuda-cpp', 'CUDA C++'],
  ['dart', 'Dart'],
  ['diff', 'diff'],
  ['dockercompose', 'Docker Compose'],
  ['dockerfile', 'Dockerfile'],
  ['elixir', 'Elixir'],
  ['elisp', 'Emacs Lisp'],
  ['emacs-lisp', 'Emacs Lisp'],
  ['erlang', 'Erlang'],
  ['fortran', 'Fortran'],
  ['fsharp', 'F#'],
  ['go', 'Go'],
  ['groovy', 'Groovy'],
  ['handlebars', 'Handlebars'],
  ['haskell', 'Haskell'],
  ['html', 'HTML'],
  ['ini', 'INI'],
  ['java', 'Java'],
  ['javascript', 'JavaScript'],
  ['javascriptreact', 'JavaScript'],
  ['json', 'JSON'],
  ['jsonc', 'JSON'],
  ['julia', 'Julia'],
  ['kotlin', 'Kotlin'],
  ['less', 'Less'],
  ['lisp', 'Lisp'],
  ['lua', 'Lua'],
  ['makefile', 'Makefile'],
  ['objective-c', 'Objective-C'],
  ['objective-cpp', 'Objective-C++'],
  ['ocaml', 'OCaml'],
  ['perl', 'Perl'],
  ['perl6', 'Raku'],
  ['php', 'PHP'],
  ['powershell', 'PowerShell'],
  ['properties', 'properties'],
  ['python', 'Python'],
  ['r', 'R'],
  ['razor', 'Razor'],
  ['ruby', 'Ruby'],
  ['rust', 'Rust'],
  ['scala', 'Scala'],
  ['scheme', 'Scheme'],
  ['scss', 'SCSS'],
  ['shaderlab', 'ShaderLab'],
  ['shellscript', 'shell'],
  ['sql', 'SQL'],
  ['svelte', 'Svelte'],
  ['swift', 'Swift'],
  ['toml', 'TOML'],
  ['typescript', 'TypeScript'],
  ['typescriptreact', 'TypeScript'],
  ['vb', 'Visual Basic'],
  ['vue', 'Vue'],
  ['xml', 'XML'],
  ['yaml', 'YAML'],
  ['zig', 'Zig'],
]);

/** Lines of code end in punctuation that sentences lack, start with a keyword, assign, or call. */
const CODE_LINE = new RegExp(
  [
    /[{};]\s*$/,
    /^\s*[\])}]/,
    /^\s*(?:#include|#define|@\w+|\/\/|\/\*)/,
    /^\s*(?:def|class|func|fn|function|const|let|var|import|from|package|public|private|static|struct|enum|impl|use)\s+[\w{*.'"<:]+.*[^.!?]$/,
    /^\s*(?:if|elif|else|for|while|try|except|catch|switch|case|return|with)\b.*[:;{)\]\w]$/,
    /^\s*[\w.$[\]'"]+\s*(?:=|\+=|:=|<-)\s*\S/,
    /^\s*[\w.]+\(.*\)\s*;?$/,
    /=>|->|::|&&|\|\|/,
  ]
    .map((pattern) => pattern.source)
    .join('|'),
);
/** More of the lines than this look like code: it is code. Comments and docstrings are text, so it is far from all lines. */
const CODE_SHARE = 0.3;
/** Lines looked at. */
const SAMPLE_LINES = 200;

/**
 * True for text, false for code. An unknown id is an extension's language, that is code. Plain text, and text without an id
 * (standard input, an unsaved file), may be either: its lines decide.
 */
export function isProse(languageId: string | undefined, text: string): boolean {
  if (languageId !== undefined && languageId !== 'plaintext') return PROSE.has(languageId);
  const lines = text.split('\n', SAMPLE_LINES).filter((line) => line.trim() !== '');
  return lines.filter((line) => CODE_LINE.test(line.trimEnd())).length <= CODE_SHARE * lines.length;
}

/** The language's name for a prompt, or undefined for text and for ids that nobody listed. */
export function languageName(languageId: string | undefined): string | undefined {
  return languageId === undefined ? undefined : NAMES.get(languageId);
}
