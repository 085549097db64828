// `[vars]` of the configuration: what templates of rule files may use. A value, or `{ file = "..." }`: a list of addresses.
// Guarantees: names are plain words that no fact of the host has; text is one line without control characters. Pure.

export type VarValue = string | number | boolean | readonly VarValue[] | { readonly [key: string]: VarValue };

/** A list of addresses, one a line. */
export interface VarFile {
  readonly name: string;
  /** Absolute, or as seen from the folder of the configuration file that names it. */
  readonly path: string;
}

export interface RuleVars {
  readonly values: Readonly<Record<string, VarValue>>;
  readonly files: readonly VarFile[];
}

export interface VarProblem {
  readonly name: string;
  readonly message: string;
}

/** Names that rules/facts.ts gives. */
export const FACT_NAMES = ['libvirt', 'guests'] as const;

export function parseVars(
  described: unknown,
  configFile: string,
): RuleVars & { readonly problems: readonly VarProblem[] } {
  const values: Record<string, VarValue> = {};
  const files: VarFile[] = [];
  const problems: VarProblem[] = [];
  if (described === undefined) return { values, files, problems };
  if (!isTable(described)) return { values, files, problems: [{ name: '', message: 'expected a table: [vars]' }] };
  for (const [name, value] of Object.entries(described)) {
    const path = isTable(value) ? value['file'] : undefined;
    const wrong = wrongName(name) ?? (path === undefined ? wrongValue(value) : wrongFile(value as object, path));
    if (wrong !== undefined) problems.push({ name, message: wrong });
    else if (typeof path === 'string') files.push({ name, path: from(configFile, path) });
    else values[name] = value as VarValue;
  }
  return { values, files, problems };
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

function wrongName(name: string): string | undefined {
  if (!/^[A-Za-z_]\w*$/.test(name)) return `expected a name of letters, digits and _, found ${JSON.stringify(name)}`;
  return (FACT_NAMES as readonly string[]).includes(name)
    ? `${name} is a fact of the host; expected another name`
    : undefined;
}

function wrongFile(table: object, path: unknown): string | undefined {
  const others = Object.keys(table).filter((key) => key !== 'file');
  if (others.length > 0) return `expected file alone, as in { file = "servers.txt" }, found ${others.join(', ')} too`;
  return typeof path === 'string' && path !== '' ? undefined : `file: expected a path, found ${JSON.stringify(path)}`;
}

function wrongValue(value: unknown): string | undefined {
  if (typeof value === 'string')
    return /[\u0000-\u001f\u007f]/.test(value) ? 'expected one line of text without control characters' : undefined;
  if (typeof value === 'number' || typeof value === 'boolean') return undefined;
  if (Array.isArray(value)) return value.map(wrongValue).find((wrong) => wrong !== undefined);
  if (isTable(value))
    return Object.values(value)
      .map(wrongValue)
      .find((wrong) => wrong !== undefined);
  return `expected text, a number, true or false, a list or a table, found ${String(value)}`;
}

const from = (configFile: string, path: string): string =>
  path.startsWith('/') ? path : `${configFile.slice(0, configFile.lastIndexOf('/') + 1)}${path}`;

/** What a later file of the configuration says replaces what an earlier one said of the same name. */
export function overlay(before: RuleVars, after: RuleVars): RuleVars {
  const isNew = (name: string): boolean => name in after.values || after.files.some((file) => file.name === name);
  const kept = Object.entries(before.values).filter(([name]) => !isNew(name));
  return {
    values: { ...Object.fromEntries(kept), ...after.values },
    files: [...before.files.filter(({ name }) => !isNew(name)), ...after.files],
  };
}
