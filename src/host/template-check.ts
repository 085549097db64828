// The names in a template against the variables there are, before it runs: a wrong name is found at its place, also where
// nunjucks would take it for nothing (`{% for s in sevrers %}`, `{% if srever %}`). Pure.
// Goals: every root name, every member that can be known without running. Guarantee: no finding for what would work.
// Does not: follow values that are computed; those are caught where they are output or looped over.

import type { TemplateProblem } from './template.ts';

/** A node of nunjucks' tree. Lines and columns count from 0. */
export interface Node {
  readonly typename: string;
  readonly lineno: number;
  readonly colno: number;
  readonly fields: readonly string[];
  [field: string]: unknown;
}

interface Library {
  readonly filters: Readonly<Record<string, unknown>>;
  readonly tests: Readonly<Record<string, unknown>>;
  readonly globals: Readonly<Record<string, unknown>>;
}

/** What a name may stand for; undefined: it is there, its value is not known here. */
type Known = readonly unknown[] | undefined;

interface Scope {
  readonly names: Map<string, Known>;
  /** What a message offers. */
  readonly variables: readonly string[];
  readonly known: Library;
  readonly problems: TemplateProblem[];
}

/** Names that nunjucks itself puts there, in loops, macros and blocks. */
const GIVEN = ['loop', 'caller', 'super', 'kwargs', 'varargs'];

export function checkTemplate(
  tree: Node,
  variables: Readonly<Record<string, unknown>>,
  library: Library,
): TemplateProblem[] {
  const names = new Map<string, Known>(Object.entries(variables).map(([name, value]) => [name, [value]]));
  for (const name of [...Object.keys(library.globals), ...GIVEN]) if (!names.has(name)) names.set(name, undefined);
  for (const name of assigned(tree)) names.set(name, undefined);
  const scope: Scope = { names, variables: Object.keys(variables), known: library, problems: [] };
  visit(scope, tree);
  return scope.problems;
}

const nodeOf = (value: unknown): Node | undefined =>
  typeof value === 'object' && value !== null && 'typename' in value ? (value as Node) : undefined;

function childrenOf(node: Node): Node[] {
  const inside = (value: unknown): Node[] =>
    Array.isArray(value) ? value.flatMap(inside) : ((nodeOf(value) ?? []) as Node[]);
  return node.fields.flatMap((field) => [inside(node[field])].flat());
}

/** Names that `{% set %}` and `{% macro %}` make, wherever they stand. */
function assigned(node: Node): string[] {
  const own =
    node.typename === 'Set'
      ? (node['targets'] as Node[]).map((target) => String(target['value']))
      : node.typename === 'Macro' || node.typename === 'Block'
        ? [String(nodeOf(node['name'])?.['value'] ?? '')]
        : [];
  return [...own, ...childrenOf(node).flatMap(assigned)];
}

const OTHER_FILES = new Set(['Include', 'Import', 'FromImport', 'Extends']);

function visit(scope: Scope, node: Node): void {
  if (OTHER_FILES.has(node.typename))
    return report(scope, node, 'template-failed', `a rule template stands alone: no ${node.typename.toLowerCase()}`);
  switch (node.typename) {
    case 'For':
      return visitFor(scope, node);
    case 'Macro':
    case 'Caller':
      return visitMacro(scope, node);
    case 'Filter':
    case 'FilterAsync':
      return visitFilter(scope, node);
    case 'Is':
      return visitTest(scope, node);
    case 'Set':
      return (['value', 'body'] as const).forEach((field) => visitChild(scope, node[field]));
    case 'FunCall':
      visitChild(scope, node['name']);
      return visitChild(scope, node['args']);
    case 'Pair':
      // `name=value`, and the key of a dict: no variable
      return visitChild(scope, node['value']);
    case 'Block':
      return visitChild(scope, node['body']);
    case 'Symbol':
    case 'LookupVal':
      return void valuesOf(scope, node);
    default:
      for (const child of childrenOf(node)) visit(scope, child);
  }
}

function visitChild(scope: Scope, value: unknown): void {
  const node = nodeOf(value);
  if (node !== undefined) visit(scope, node);
}

const within = (scope: Scope, more: readonly (readonly [string, Known])[]): Scope => ({
  ...scope,
  names: new Map([...scope.names, ...more]),
});

function visitFor(scope: Scope, node: Node): void {
  const list = nodeOf(node['arr']);
  if (list === undefined) return;
  const values = isChain(list) ? valuesOf(scope, list) : undefined;
  if (!isChain(list)) visit(scope, list);
  const target = nodeOf(node['name']);
  const names = target?.typename === 'Symbol' ? [target] : target === undefined ? [] : childrenOf(target);
  const elements = names.length === 1 && values?.every(Array.isArray) === true ? values.flat() : undefined;
  const bound = names.map((name): [string, Known] => [String(name['value']), elements]);
  visitChild(within(scope, bound), node['body']);
  visitChild(scope, node['else_']);
}

function visitMacro(scope: Scope, node: Node): void {
  const names: string[] = [];
  for (const argument of childrenOf(nodeOf(node['args']) ?? node)) {
    if (argument.typename === 'Symbol') names.push(String(argument['value']));
    // `{% macro open(port, family=4) %}`
    else for (const pair of childrenOf(argument)) names.push(String(nodeOf(pair['key'])?.['value'] ?? ''));
  }
  visitChild(
    within(
      scope,
      names.map((name) => [name, undefined]),
    ),
    node['body'],
  );
}

function visitFilter(scope: Scope, node: Node): void {
  const name = nodeOf(node['name']);
  const filter = String(name?.['value'] ?? '');
  if (name !== undefined && scope.known.filters[filter] === undefined) {
    report(scope, name, 'template-undefined', `there is no filter ${filter}`, filter, Object.keys(scope.known.filters));
  }
  const [input, ...others] = childrenOf(nodeOf(node['args']) ?? node);
  // `{{ port | default(22) }}` is how a name that may be missing is written.
  if (input !== undefined && !['default', 'd'].includes(filter)) visit(scope, input);
  for (const other of others) visit(scope, other);
}

function visitTest(scope: Scope, node: Node): void {
  const right = nodeOf(node['right']);
  const name = right?.typename === 'FunCall' ? nodeOf(right['name']) : right;
  const test = String(name?.['value'] ?? '');
  if (name !== undefined && scope.known.tests[test] === undefined) {
    report(scope, name, 'template-undefined', `there is no test ${test}`, test, Object.keys(scope.known.tests));
  }
  if (!['defined', 'undefined'].includes(test)) visitChild(scope, node['left']);
  if (right?.typename === 'FunCall') visitChild(scope, right['args']);
}

const isChain = ({ typename }: Node): boolean => typename === 'Symbol' || typename === 'LookupVal';

/** What a chain of names (`libvirt.networks`) may stand for; reports the first name that is not there. */
function valuesOf(scope: Scope, node: Node): Known {
  if (node.typename === 'Symbol') return valuesOfName(scope, node);
  if (node.typename !== 'LookupVal') return void visit(scope, node);
  const target = nodeOf(node['target']);
  const key = nodeOf(node['val']);
  const values = target === undefined ? undefined : valuesOf(scope, target);
  if (key?.typename !== 'Literal') return visitChild(scope, key) as undefined;
  return values === undefined ? undefined : membersOf(scope, node, values, key);
}

function valuesOfName(scope: Scope, node: Node): Known {
  const name = String(node['value']);
  if (scope.names.has(name)) return scope.names.get(name);
  report(scope, node, 'template-undefined', `there is no variable ${name}`, name, scope.variables);
  return undefined;
}

function membersOf(scope: Scope, node: Node, values: readonly unknown[], key: Node): Known {
  const name = String(key['value']);
  const objects = values.filter((value) => typeof value === 'object' && value !== null) as Record<string, unknown>[];
  // Strings and numbers have methods of their own.
  if (objects.length === 0 || objects.length < values.length) return undefined;
  if (objects.some((each) => name in each && typeof each[name] === 'function')) return undefined;
  const found = objects.filter((each) => Object.hasOwn(each, name));
  if (found.length > 0) return found.map((each) => each[name]);
  const place = { ...key, lineno: key.lineno || node.lineno, colno: key.colno || node.colno };
  report(scope, place as Node, 'template-undefined', `there is no ${name} in it`, name, objects.flatMap(Object.keys));
  return undefined;
}

function report(
  { problems }: Scope,
  { lineno, colno }: Node,
  code: TemplateProblem['code'],
  message: string,
  word?: string,
  known?: readonly string[],
): void {
  const names = known === undefined ? {} : { known: [...new Set(known)].filter((name) => /^\w+$/.test(name)) };
  problems.push({
    code,
    line: lineno + 1,
    column: colno + 1,
    message,
    ...(word === undefined ? {} : { word }),
    ...names,
  });
}
