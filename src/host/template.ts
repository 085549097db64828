// The one door to nunjucks (Jinja's syntax): a template and its variables to text.
// Guarantees: a name that is not there is a problem with its place, never an empty string and never an empty loop; no other
// file can be pulled in; nothing is escaped; each line of the text knows the line of the template it came from.
// Does not: keep a template from running code (nunjucks is no sandbox: `({}).constructor.constructor("...")()`), so a
// template is trusted like a program, and what a guest says is data, never a template.

import { checkTemplate, type Node } from './template-check.ts';

export type TemplateValue =
  string | number | boolean | readonly TemplateValue[] | { readonly [key: string]: TemplateValue };
export type TemplateVariables = Readonly<Record<string, TemplateValue>>;

export interface TemplateProblem {
  readonly code: 'template-syntax' | 'template-undefined' | 'template-failed';
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** Of a name that is not there: it, and the names that are. */
  readonly word?: string;
  readonly known?: readonly string[];
}

export type Rendered =
  /** `lines`: for each line of the text, the template's. */
  | { readonly kind: 'text'; readonly text: string; readonly lines: readonly number[] }
  | { readonly kind: 'problems'; readonly problems: readonly TemplateProblem[] };

/** What nunjucks has beyond its types: the steps of a compilation. */
interface Inner {
  readonly parser: { parse(source: string, extensions: readonly unknown[], options: object): Node };
  readonly compiler: { readonly Compiler: new (name: string, strict: boolean) => InnerCompiler };
  readonly nodes: Readonly<Record<string, new (line: number, column: number, ...rest: unknown[]) => Node>>;
  readonly Template: new (source: object, environment: unknown, name: string) => { render(variables: object): string };
  readonly Environment: new (loaders: readonly unknown[], options: object) => InnerEnvironment;
}
interface InnerCompiler {
  compile(node: Node): void;
  getCode(): string;
}
interface InnerEnvironment {
  readonly filters: Readonly<Record<string, unknown>>;
  readonly tests: Readonly<Record<string, unknown>>;
  readonly globals: Readonly<Record<string, unknown>>;
  addGlobal(name: string, value: unknown): void;
}

/** Where a loop's list is asked for; no name that a template can spell. */
const LIST = ' list';

export async function renderTemplate(source: string, name: string, variables: TemplateVariables): Promise<Rendered> {
  const { default: library } = await import('nunjucks');
  const nunjucks = library as unknown as Inner;
  const environment = new nunjucks.Environment([], { autoescape: false, throwOnUndefined: true, dev: true });
  environment.addGlobal(LIST, listOrThrow);
  let tree: Node;
  try {
    tree = nunjucks.parser.parse(source, [], {});
  } catch (error) {
    return { kind: 'problems', problems: [problemOf('template-syntax', error, source)] };
  }
  const problems = checkTemplate(tree, variables, environment);
  if (problems.length > 0) return { kind: 'problems', problems };
  try {
    return unmarked(run(nunjucks, environment, prepared(nunjucks, tree, source), name, variables));
  } catch (error) {
    return { kind: 'problems', problems: [problemOf('template-failed', error, source)] };
  }
}

function run(nunjucks: Inner, environment: unknown, tree: Node, name: string, variables: TemplateVariables): string {
  const compiler = new nunjucks.compiler.Compiler(name, true);
  compiler.compile(tree);
  const code = new Function(compiler.getCode()) as () => object;
  return new nunjucks.Template({ type: 'code', obj: code() }, environment, name).render({ ...variables });
}

const NO_LIST = 'the list of this loop is not there';

/** nunjucks forgets the fields of an error that is not its own, so the place stands in its text. */
function listOrThrow(value: unknown, line: number, column: number): unknown {
  if (value === undefined || value === null) throw new Error(`${NO_LIST} @${line + 1}:${column + 1}`);
  return value;
}

/** Bodies whose text is a value before it is output: a mark in it would be part of the value. */
const NO_MARKS = new Set(['Macro', 'Caller', 'Capture']);

/** The tree with marks in its text, and with loops that refuse a list that is not there (nunjucks takes it for empty). */
function prepared({ nodes }: Inner, tree: Node, source: string): Node {
  const starts = lineStarts(source);
  const visit = (node: Node): void => {
    if (NO_MARKS.has(node.typename)) return;
    if (node.typename === 'TemplateData') node['value'] = marked(node, source, starts);
    for (const field of node.fields) for (const child of childrenOf(node[field])) visit(child);
  };
  const guard = (node: Node): void => {
    for (const field of node.fields) for (const child of childrenOf(node[field])) guard(child);
    const { For, FunCall, Symbol: Name, Literal, NodeList } = nodes;
    if (node.typename !== 'For' || !For || !FunCall || !Name || !Literal || !NodeList) return;
    const list = node['arr'] as Node;
    const { lineno, colno } = list;
    const numbers = [lineno, colno].map((value) => new Literal(lineno, colno, value));
    const given = new NodeList(lineno, colno, [list, ...numbers]);
    node['arr'] = new FunCall(lineno, colno, new Name(lineno, colno, LIST), given);
  };
  visit(tree);
  guard(tree);
  return tree;
}

export function childrenOf(value: unknown): Node[] {
  if (Array.isArray(value)) return value.flatMap(childrenOf);
  return typeof value === 'object' && value !== null && 'typename' in value ? [value as Node] : [];
}

function lineStarts(source: string): number[] {
  const starts = [0];
  for (let at = source.indexOf('\n'); at !== -1; at = source.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

const MARK = /\u0001(\d+)\u0002/g; // \u000117\u0002: line 17
const mark = (line: number): string => `\u0001${line}\u0002`;

/** Text with its line before it, and behind each line end. `-%}` took blanks from its head, which count as lines too. */
function marked(node: Node, source: string, starts: readonly number[]): string {
  const value = String(node['value']);
  let at = (starts[node.lineno] ?? 0) + node.colno;
  if (!source.startsWith(value, at)) at = source.indexOf(value, at);
  let line = node.lineno + 1;
  for (let next = node.lineno + 1; (starts[next] ?? Infinity) <= at; next++) line++;
  return mark(line) + value.replace(/\n/g, () => `\n${mark(++line)}`);
}

/** A line came from where its first visible character stands; the marks before it say where. */
function unmarked(text: string): Rendered {
  let last = 1;
  const lines: number[] = [];
  const plain = text.split('\n').map((source) => {
    const head = /^(?:\u0001\d+\u0002|\s)*/.exec(source)?.[0] ?? ''; // marks and blanks
    const marks = [...head.matchAll(MARK)];
    last = Number(marks.at(-1)?.[1] ?? last);
    lines.push(last);
    return source.replace(MARK, '');
  });
  return { kind: 'text', text: plain.join('\n'), lines };
}

/** `(rules.v4.j2) [Line 3, Column 5]\n  Error: message`. nunjucks counts from 1 in what it finds by itself, else from 0. */
function problemOf(code: TemplateProblem['code'], error: unknown, source: string): TemplateProblem {
  const { lineno, colno, message } = error as { lineno?: number; colno?: number; message: string };
  const said = (message.split('\n').at(-1) ?? message).trim().replace(/^(?:Template render error|Error): /, '');
  const [, line, column] = /@(\d+):(\d+)$/.exec(said) ?? []; // the list of this loop is not there @3:12
  if (line !== undefined)
    return { code: 'template-undefined', line: Number(line), column: Number(column), message: NO_LIST };
  const isOutput = said.startsWith('attempted to output null or undefined');
  const shift = code === 'template-syntax' || isOutput ? 0 : 1;
  const place =
    lineno === undefined
      ? { line: source.split('\n').length, column: 1 }
      : { line: lineno + shift, column: (colno ?? 0) + shift };
  return { code: isOutput ? 'template-undefined' : code, ...place, message: said };
}
