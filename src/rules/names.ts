// Which file of a folder is a rule file, and of what kind: by its name alone, in the order of the names. Pure.

import type { RuleKind } from './types.ts';

const KINDS: Readonly<Record<string, RuleKind>> = { v4: 'ip', v6: 'ip6', nft: 'native' };

export interface RuleName {
  readonly kind: RuleKind;
  readonly template: boolean;
}

/** `10-base.v4`, `20-servers.v6.j2`, `nat.nft`; undefined for every other name. */
export function ruleName(name: string): RuleName | undefined {
  const [, end = '', template] = /^[^.].*\.(v4|v6|nft)(\.j2)?$/.exec(name) ?? [];
  const kind = KINDS[end];
  return kind === undefined ? undefined : { kind, template: template !== undefined };
}

/** What a file given by name or loaded at boot holds: by its name, else by its text. */
export function kindOfFile(path: string, text: string): RuleName {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const known = ruleName(name);
  if (known !== undefined) return known;
  const template = name.endsWith('.j2');
  if (/^\s*(?:table|add table|flush ruleset|define|include)\b/m.test(text) && !/^\*\w+/m.test(text))
    return { kind: 'native', template };
  return { kind: /(?:v6|ip6)/i.test(name) ? 'ip6' : 'ip', template }; // ip6tables, host.v6.save
}

/** Files that editors, packages and people leave beside others: nobody expects them to be read. */
export const isBackup = (name: string): boolean =>
  name.startsWith('.') ||
  /(?:~|\.(?:bak|old|orig|swp|save|tmp|dpkg-\w+|rpm\w+)|^README.*)$/i.test(name) ||
  name === 'README';
