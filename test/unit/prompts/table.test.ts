// Tables as people have them: exported, pasted, written by hand, and broken.
import { describe, expect, it } from 'vitest';
import { TableError } from '../../../server/prompts/errors';
import { columnIndex, examplesFrom, inputsFrom } from '../../../server/prompts/pick';
import { formatOf, guessColumns, parseTable, type TableOptions } from '../../../server/prompts/table';

const cells = (text: string, options?: TableOptions) => parseTable(text, options).rows.map((row) => row.cells);
const lines = (text: string, options?: TableOptions) => parseTable(text, options).rows.map((row) => row.line);

describe('CSV', () => {
  it('has quotes, line breaks in cells, empty lines and Windows line ends; rows know their line', () => {
    const text = '\ufeffid,text,label\r\n1,"a, ""b""\r\nc",x\r\n\r\n2,plain,\r\n';
    const table = parseTable(text, { fileName: 'a.csv' });
    expect(table).toMatchObject({ format: 'csv', header: true, columns: ['id', 'text', 'label'], problems: [] });
    expect(table.rows).toEqual([
      { line: 2, cells: ['1', 'a, "b"\nc', 'x'] },
      { line: 5, cells: ['2', 'plain', ''] },
    ]);
  });

  it('may be separated by semicolons', () => {
    expect(cells('text;n\n"a; b";1,5\n', { fileName: 'a.csv' })).toEqual([['a; b', '1,5']]);
  });

  it('has a header when the first row looks like one, or when told', () => {
    const csv = { fileName: 'a.csv' };
    expect(parseTable('input,output\na,b\n', csv).header).toBe(true);
    expect(parseTable('name,age\nAnn,3\nBo,4\n', csv).header).toBe(true);
    expect(parseTable('good day,positive\nbad day,negative\n', csv).header).toBe(false);
    expect(parseTable('1,2\n3,4\n', csv).columns).toEqual(['column 1', 'column 2']);
    expect(parseTable('good,bad\na,b\n', { ...csv, header: true }).columns).toEqual(['good', 'bad']);
    expect(parseTable('input,output\na,b\n', { ...csv, header: false }).rows).toHaveLength(2);
    expect(parseTable('text,,text\na,b,c\n', { ...csv, header: true }).columns).toEqual([
      'text',
      'column 2',
      'text (3)',
    ]);
  });

  it('tells of rows that are longer or shorter, and keeps them', () => {
    const table = parseTable('input,output\na,b\nc\nd,e,f\n', { fileName: 'a.csv' });
    expect(table.problems.map(({ line }) => line)).toEqual([3, 4]);
    expect(table.problems[0]?.message).toBe('Line 3 has 1 cells where the table has 2 columns.');
    expect(table.rows).toHaveLength(3);
  });

  it.each<[string, string, number, RegExp]>([
    ['a quote that is not closed', 'a,b\n"x,\ny,z\n', 2, /not closed/],
    ['text after a closing quote', 'a,b\n1,2\n"x"y,z\n', 3, /After a closing quote/],
    ['a quote inside a cell', 'a,b\nx"y",z\n', 2, /quote stands inside a cell/],
  ])('with %s is refused by line and reason', (_, text, line, reason) => {
    try {
      parseTable(text, { fileName: 'a.csv' });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(TableError);
      expect((error as TableError).message).toMatch(new RegExp(`^Line ${line}: `));
      expect((error as TableError).reason).toMatch(reason);
    }
  });
});

describe('what is pasted', () => {
  it('from a spreadsheet is TSV, with cells of several lines in quotes', () => {
    expect(formatOf('a\tb\nc\td\n')).toBe('tsv');
    expect(formatOf('a\t"two\nlines"\n"c\n"\td\n')).toBe('tsv');
    expect(formatOf('"a, b",c\n"d\ne",f\n')).toBe('csv');
    expect(cells('He said\t"two\nlines"\nsecond\tx\n', { format: 'tsv' })).toEqual([
      ['He said', 'two\nlines'],
      ['second', 'x'],
    ]);
  });

  it('from elsewhere may have quotes that are quotes', () => {
    expect(cells('"Hello" she said\tgreeting\nThe 3" disk\tsize\n')).toEqual([
      ['"Hello" she said', 'greeting'],
      ['The 3" disk', 'size'],
    ]);
  });

  it('from Markdown has a header row, escaped bars and line breaks', () => {
    const text = '\n| Input | Output |\n|:-----|-----:|\n| a \\| b | x<br>y |\n|  | z |\n';
    const table = parseTable(text);
    expect(table).toMatchObject({ format: 'markdown', header: true, columns: ['Input', 'Output'], problems: [] });
    expect(table.rows).toEqual([
      { line: 4, cells: ['a | b', 'x\ny'] },
      { line: 5, cells: ['', 'z'] },
    ]);
    expect(parseTable('| | |\n|-|-|\n| a | b |\n')).toMatchObject({ header: false, columns: ['column 1', 'column 2'] });
  });

  it('is lines when it is prose, commas or not', () => {
    expect(formatOf('Well, yes.\nNo, never, no.\n')).toBe('lines');
    expect(formatOf('a,b\nc,d\n')).toBe('csv');
    expect(formatOf('one')).toBe('lines');
    expect(formatOf('')).toBe('lines');
  });
});

describe('JSON', () => {
  it('lines are objects, arrays or texts; what is no text is written as one', () => {
    const text = '{"input": "a", "n": 1}\n\n{"output": {"b": [1]}, "input": null}\n';
    const table = parseTable(text);
    expect(table).toMatchObject({ format: 'jsonl', columns: ['input', 'n', 'output'], problems: [] });
    expect(table.rows).toEqual([
      { line: 1, cells: ['a', '1', ''] },
      { line: 3, cells: ['', '', '{"b":[1]}'] },
    ]);
    expect(cells('["a", "b"]\n["c"]\n', { format: 'jsonl' })).toEqual([['a', 'b'], ['c']]);
    expect(cells('"a"\n"b"\n', { fileName: 'x.jsonl' })).toEqual([['a'], ['b']]);
  });

  it('is refused by line', () => {
    const broken = (text: string, fileName: string) => () => parseTable(text, { fileName });
    expect(broken('{"a": 1}\n{"a": }\n', 'x.jsonl')).toThrow(/^Line 2: A value is missing before }/);
    expect(broken('{"a": 1}\n"b"\n', 'x.jsonl')).toThrow(/^Line 2: Some rows are objects/);
    expect(broken('[\n{"a": 1},\nx]', 'x.json')).toThrow(/^Line 3: x is no JSON value/);
    expect(broken('{}', 'x.json')).toThrow(/no list of rows/);
  });

  it('may be one list', () => {
    expect(lines('[\n  {"a": "x"},\n  {"a": "y"}\n]', { fileName: 'x.json' })).toEqual([2, 3]);
    expect(formatOf('[\n  {"a": "x"}\n]')).toBe('json');
  });
});

describe('columns', () => {
  it('are guessed by their names, otherwise the first two', () => {
    const guess = (...columns: string[]) => guessColumns({ columns });
    expect(guess('id', 'Label', 'Text')).toEqual({ input: 2, output: 1 });
    expect(guess('a', 'b', 'c')).toEqual({ input: 0, output: 1 });
    expect(guess('answer', 'b')).toEqual({ input: 1, output: 0 });
    expect(guess('line')).toEqual({ input: 0 });
  });

  it('are found by name, case aside, or by number', () => {
    const table = { columns: ['Text', 'text', '2'] };
    expect(columnIndex(table, 'text')).toBe(1);
    expect(columnIndex(table, 'TEXT')).toBe(0);
    expect(columnIndex(table, '2')).toBe(2);
    expect(columnIndex(table, '3')).toBe(2);
    expect(columnIndex(table, '4')).toBeUndefined();
    expect(columnIndex(table, 'none')).toBeUndefined();
  });

  it('become examples and inputs; rows that lack something are told of', () => {
    const table = parseTable('input,output\na,b\n,c\nd,\n" e ",f\n', { fileName: 'a.csv' });
    const { picked, skipped } = examplesFrom(table, { input: 0, output: 1 });
    expect(picked).toEqual([
      { input: 'a', output: 'b' },
      { input: 'e', output: 'f' },
    ]);
    expect(skipped).toEqual([
      { line: 3, message: "Line 3 has nothing under 'input'." },
      { line: 4, message: "Line 4 has nothing under 'output'." },
    ]);
    expect(inputsFrom(table, 0).picked).toEqual([
      { line: 2, text: 'a' },
      { line: 4, text: 'd' },
      { line: 5, text: ' e ' },
    ]);
  });
});
