/** The text of `flan --help` and `flan COMMAND --help`. */
import type { CommandName } from './options';

const MAIN = `flan: explain, summarize and ask about text with a Flan model on this machine. Nothing leaves it.

Usage: flan COMMAND [OPTIONS]

  explain FILE[:FROM-TO]     explain a piece of code or text
  summarize FILE...          summarize texts
  ask QUESTION FILE...       answer a question from texts
  generate --prompt TEXT     the raw model, no template added
  score --prompt T --answer A  log-probability of an answer
  run SET FILE               a prompt set on every line of a file, or on a column of a table
  convert DIR --out DIR2     turn a checkpoint folder into a pre-quantized model
  pull MODEL                 get a model from the hub: download and convert in one go
  rm MODEL, verify MODEL     remove an installed model; compare its files with their checksums
  models                     what is installed; --available: what could be, and what of it fits this machine
  doctor                     what this machine can run, and why not
  bench                      how fast this machine is
  status, stop               the server that keeps the model loaded

A FILE of - reads standard input. Options of a command: flan COMMAND --help. Also: flan --version`;

const MODEL = `  --model NAME_OR_DIR     which model (default: the best installed one, else the built-in one)
  --engine auto|cpu|webgpu|cuda   where it runs (default auto)
  --weights int8|fp32     fp32 only on cpu, as the reference (default int8)`;
const DECODING = `  --max-new-tokens N      longest answer (default 512)
  --beams K               beam search with K beams
  --temperature T --top-p P --top-k K --seed S   sampling; without them the answer is always the same`;
const JSON_LINE = '  --json                  print one JSON object on standard output and nothing else there';
const ALL = `${MODEL}\n${DECODING}\n${JSON_LINE}`;
const TASK = `${MODEL}\n  --mode-token auto|NLG|NLU|S2S|none   only for google/ul2 (default: the one that suits the task)\n${DECODING}\n${JSON_LINE}`;

const COMMANDS: Readonly<Record<CommandName, string>> = {
  explain: `Usage: flan explain FILE[:FROM-TO] [OPTIONS]

Explains a file, or its lines FROM to TO. Ctrl-C stops at the next word.

${TASK}`,
  summarize: `Usage: flan summarize FILE[:FROM-TO]... [OPTIONS]

Summarizes one or several files, read as one text. Ctrl-C stops at the next word.

${TASK}`,
  ask: `Usage: flan ask QUESTION FILE[:FROM-TO]... [OPTIONS]

Answers a question from one or several files, read as one text. Ctrl-C stops at the next word.

${TASK}`,
  generate: `Usage: flan generate --prompt TEXT | --prompt-file FILE [OPTIONS]

Gives the model a prompt as it is, without a template.

${ALL}`,
  score: `Usage: flan score --prompt TEXT | --prompt-file FILE --answer TEXT [OPTIONS]

The natural log-probability of an answer after a prompt, in all and by token. The end token counts.

${MODEL}
${JSON_LINE}`,
  run: `Usage: flan run SET FILE [OPTIONS]        every line of a text file, every row of a table
       flan run SET --input TEXT             one input
       flan run SET --check                  each example predicted from the others
       flan run --list                       which sets there are

SET is a file, the name of a set in .flan/prompts of this folder or one above it, or the name of a set that comes with
flan. FILE is text (a line is an input), CSV, TSV or JSON lines; - reads standard input. Without further options one
answer a line goes to standard output. Ctrl-C stops at the next word and keeps what is done. The exit code is 1 when an
input got no answer.

  --input TEXT            one input instead of a file
  --whole                 the whole file is one input, for example: git diff | flan run commit-message --whole -
  --column NAME           which column of a table (its name, or its number from 1)
  --format csv|tsv|jsonl|json|markdown|lines   what the file is (default: by its ending and its text)
  --header, --no-header   whether the first row of a table names its columns (default: by its text)
  --jsonl, --csv          results with all that is known of them; for a table, CSV keeps its columns
  --out FILE              write the results to FILE when all are there; until then they are kept in FILE.partial
  --resume                go on where a run with --out was stopped
  --drop                  where a prompt is too long, leave examples away, the last ones first, and say which
  --dry-run               show the prompt and count its tokens; nothing is run
  --check                 agreement, and how likely the model finds each example's own output
  --keep                  with --check: keep the results; later checks are compared with them
${MODEL}
${JSON_LINE}`,
  convert: `Usage: flan convert DIR --out DIR2 [--json]

Reads a checkpoint folder (config.json, tokenizer.json, safetensors or PyTorch files) and writes a pre-quantized
int8 model, tensor by tensor. Put it under the models folder that flan models names, or use it with --model DIR2.`,
  pull: `Usage: flan pull OWNER/NAME[@REVISION] | DIR [--name NAME] [--keep-original] [--json]

Installs a model of the hub, for example: flan pull google/flan-t5-small; for those of flan models --available, the
name alone is enough. A revision is a branch, a tag, a commit or refs/pr/N. Weights are converted to int8 as they
arrive: the disk needs room for the int8 model only. Ctrl-C stops it; the same command goes on from there. A model that
is in the Hugging Face cache, or a folder, is converted without a download.

  --name NAME             install it under another name (default: the repository's)
  --keep-original         keep the downloaded weights too, for exact --weights fp32
${JSON_LINE}

HF_TOKEN is used for private and gated models, HF_ENDPOINT for another hub, HF_HOME for the cache, HTTPS_PROXY and
NO_PROXY for proxies.`,
  rm: `Usage: flan rm MODEL [--json]

Removes an installed model, what was converted from it, and what an unfinished pull of it has fetched.`,
  verify: `Usage: flan verify MODEL [--json]

Reads all files of a model and compares them with their checksums. Exit code 1 if one is not as it was.`,
  models: `Usage: flan models [--available] [--json]

Lists the installed models and the built-in one, with their sizes and dates.
  --available             the known models that can be installed: size, memory, licence, what they are good and bad
                          at, and which of them fit this machine now`,
  doctor: `Usage: flan doctor [--model DIR] [--json]

What this machine can run and why not: engines, memory, disk, the server. With --model DIR: what the folder holds,
how it is read, and how exact its int8 form is, tensor by tensor.`,
  bench: `Usage: flan bench [--model NAME_OR_DIR] [--engine E] [--source-tokens N] [--new-tokens N] [--table] [--json]

Measures loading, encoding and each token, int8 beside fp32 on the cpu, and the floor that memory bandwidth sets.

${MODEL}
  --source-tokens N       length of the prompt (default 256)
  --new-tokens N          tokens written (default 64)
  --table                 also prompts of 512 to 2048 tokens, steps of 1 to 16 rows and tokens beside the speed at which
                          the memory copies, the first word, and the device memory of a long request
${JSON_LINE}`,
  status: `Usage: flan status [--json]

Says whether the server runs, and what it has loaded.`,
  stop: `Usage: flan stop [--json]

Frees the model and ends the server, for all clients.`,
};

export function helpText(of: CommandName | undefined): string {
  return of === undefined ? MAIN : COMMANDS[of];
}
