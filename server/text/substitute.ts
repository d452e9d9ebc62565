/**
 * Code for a vocabulary that cannot write it. Characters that the tokenizer loses are written as something it has, the
 * model's output is mapped back, and what was done is reported. A stand-in is used only if the text has it nowhere, and
 * only if mapping the written text back gives the text: otherwise a real `[[` of the source would come back as `{`.
 */
import type { Substitution } from '../protocol';
import type { TextCodec } from './codec';
import { Writability } from './writable';

/** Characters that are only useful as pairs share one row: both get the same stand-in's halves. */
interface Family {
  readonly chars: readonly string[];
  /** Tried in order; each has one stand-in per character. */
  readonly standIns: readonly (readonly string[])[];
}

const FAMILIES: readonly Family[] = [
  {
    chars: ['{', '}'],
    standIns: [
      ['[[', ']]'],
      ['«', '»'],
      ['(:', ':)'],
      ['<%', '%>'],
      ['[%', '%]'],
      ['&lbrace;', '&rbrace;'],
    ],
  },
  {
    chars: ['<', '>'],
    standIns: [
      ['&lt;', '&gt;'],
      ['‹', '›'],
      ['(lt)', '(gt)'],
    ],
  },
  { chars: ['['], standIns: [['(['], ['&lsqb;'], ['(|']] },
  { chars: [']'], standIns: [['])'], ['&rsqb;'], ['|)']] },
  { chars: ['\\'], standIns: [['&#92;'], ['(bs)'], ['//']] },
  { chars: ['^'], standIns: [['&#94;'], ['(xor)']] },
  { chars: ['~'], standIns: [['&#126;'], ['(tilde)']] },
  { chars: ['`'], standIns: [['&#96;'], ["''"], ['(tick)']] },
  { chars: ['|'], standIns: [['&#124;'], ['(or)']] },
  { chars: ['@'], standIns: [['(at)'], ['&#64;']] },
  { chars: ['#'], standIns: [['(hash)'], ['&#35;']] },
  { chars: ['$'], standIns: [['(usd)'], ['&#36;']] },
  { chars: ['_'], standIns: [['&#95;'], ['(us)']] },
  { chars: ['*'], standIns: [['&#42;'], ['(x)']] },
  { chars: ['='], standIns: [['&#61;'], ['(eq)']] },
  { chars: ['+'], standIns: [['(plus)'], ['&#43;']] },
];

/** Typography that a plain character can stand for; not mapped back, since the plain one occurs by itself. */
const PLAIN: Readonly<Record<string, string>> = {
  '\u2018': "'",
  '\u2019': "'",
  '\u201c': '"',
  '\u201d': '"',
  '\u2013': '-',
  '\u2014': '-',
  '\u2022': '*',
  '\u2190': '<-',
  '\u2192': '->',
  '\u21d2': '=>',
  '\u2264': '<=',
  '\u2265': '>=',
  '\u2260': '!=',
  '\u00d7': 'x',
  '\u2212': '-',
};

/** What stands for a new line under the `mark` policy: the first that the vocabulary writes and the text lacks. */
const LINE_MARKS = ['<br>', '[nl]', '(nl)', '||', '¶'] as const;

/** `fold`: white space may become one space. `mark`: new lines are written as a mark, and restored in the output. */
export type WhitespacePolicy = 'fold' | 'mark';

/** How one text is written for one model. */
export interface Plan {
  readonly substitutions: readonly Substitution[];
  /** The text, or a part of it, as the model is given it. Lines stay lines. */
  readonly apply: (text: string) => string;
  /** The same for the words around the text, whose lines are never marked. */
  readonly applyFrame: (words: string) => string;
  /** Maps the model's output back. Its patterns hold no white space but that around line marks: whole words can be mapped as they stream. */
  readonly restore: (output: string) => string;
}

/** Writes text for one model; keeps what it learns about the vocabulary. */
export class Substituter {
  readonly #codec: TextCodec;
  readonly #writability: Writability;

  constructor(codec: TextCodec) {
    this.#codec = codec;
    this.#writability = new Writability(codec);
  }

  /** Finds stand-ins for what the vocabulary lacks of `text`. Special tokens that it spells out (`</s>`) get a space inside. */
  plan(text: string, policy: WhitespacePolicy): Plan {
    const substitutions: Substitution[] = [];
    const special = new Map<string, string>();
    for (const token of this.#codec.specialTokens) {
      const count = text.split(token).length - 1;
      if (count === 0) continue;
      const as = `${token.slice(0, 1)} ${token.slice(1)}`;
      special.set(token, as);
      substitutions.push({ char: token, as, count });
    }
    const source = replaceAll(text, special);

    // New lines at the very end are no loss: there is nothing after them.
    const counts = countCharacters(source.trimEnd());
    const report = (char: string, as: string | null) => substitutions.push({ char, as, count: counts.get(char) ?? 0 });
    const lost = new Set<string>();
    for (const char of counts.keys()) {
      const written = this.#writability.of(char);
      if (written.kind === 'lost') lost.add(char);
      else if (written.kind === 'changed') report(char, written.to);
      else if (written.kind === 'folded' && (char !== '\n' || policy === 'fold')) report(char, ' ');
    }
    const forward = new Map<string, string>();
    const back = new Map<string, string>();
    for (const family of FAMILIES) {
      const chars = family.chars.filter((char) => lost.has(char));
      if (chars.length === 0) continue;
      const standIns = family.standIns.find((candidates) => this.#fits(source, forward, family.chars, candidates));
      for (const char of chars) {
        const as = standIns?.[family.chars.indexOf(char)];
        if (as === undefined) continue;
        forward.set(char, as);
        back.set(as, char);
        lost.delete(char);
        report(char, as);
      }
    }
    for (const char of lost) {
      const as = this.#plain(char);
      if (as !== undefined) forward.set(char, as);
      report(char, as ?? null);
    }

    let mark: string | undefined;
    if (policy === 'mark' && counts.has('\n') && this.#writability.of('\n').kind === 'folded') {
      const written = replaceAll(source, forward);
      mark = LINE_MARKS.find((m) => this.#writability.of(m).kind === 'kept' && !written.includes(m));
      report('\n', mark ?? ' ');
    }
    const applyFrame = (words: string) => replaceAll(replaceAll(words, special), forward);
    return {
      substitutions,
      apply: (part) => {
        const written = applyFrame(part);
        return mark === undefined ? written : written.replaceAll(/[ \t]*\n/g, ` ${mark}\n`);
      },
      applyFrame,
      restore: restorer(back, mark),
    };
  }

  /** What a text loses as it is: for prompts that nothing may be changed in. */
  lossesOf(text: string): Substitution[] {
    const losses: Substitution[] = [];
    for (const [char, count] of countCharacters(text)) {
      if (this.#writability.of(char).kind === 'lost') losses.push({ char, as: null, count });
    }
    return losses;
  }

  #fits(
    text: string,
    before: ReadonlyMap<string, string>,
    chars: readonly string[],
    standIns: readonly string[],
  ): boolean {
    if (standIns.some((s) => text.includes(s) || this.#writability.of(s).kind !== 'kept')) return false;
    const forward = new Map(before);
    const back = new Map([...before].map(([char, as]) => [as, char]));
    for (const [i, char] of chars.entries()) {
      const as = standIns[i];
      if (as === undefined) continue;
      forward.set(char, as);
      back.set(as, char);
    }
    return replaceAll(replaceAll(text, forward), back) === text;
  }

  /** Typographic stand-in, or the letter without its accent; undefined when neither can be written. */
  #plain(char: string): string | undefined {
    const stripped = char.normalize('NFKD').replaceAll(/\p{M}/gu, '');
    for (const as of [PLAIN[char], stripped]) {
      if (as !== undefined && as !== '' && as !== char && this.#writability.of(as).kind === 'kept') return as;
    }
    return undefined;
  }
}

/**
 * Characters with their counts. Left out: plain letters, digits and spaces, which every vocabulary has, and what only says
 * how the character before it is drawn (variation selectors, joiners).
 */
function countCharacters(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const char of text) {
    if (/[a-zA-Z0-9 ]|\p{Variation_Selector}|\u200d/u.test(char)) continue;
    counts.set(char, (counts.get(char) ?? 0) + 1);
  }
  return counts;
}

/** One pass, longest pattern first: the output of a replacement is never replaced again. */
function replaceAll(text: string, map: ReadonlyMap<string, string>): string {
  if (map.size === 0) return text;
  const patterns = [...map.keys()].sort((a, b) => b.length - a.length).map(escapeRegExp);
  return text.replaceAll(new RegExp(patterns.join('|'), 'gu'), (found) => map.get(found) ?? found);
}

function restorer(reversible: ReadonlyMap<string, string>, mark: string | undefined): (output: string) => string {
  const line = mark === undefined ? undefined : new RegExp(` ?${escapeRegExp(mark)} ?`, 'g');
  return (output) => replaceAll(line ? output.replaceAll(line, '\n') : output, reversible);
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
