// Tables under iptables' names in which native rules stand: whose each chain is, as measured with iptables 1.8.9 and 1.8.11.

import { describe, expect, it } from 'vitest';
import { splitTable } from '../../../src/ruleset/nft/iptables-part.ts';
import { printNftTable } from '../../../src/ruleset/nft/print.ts';
import { chainsOf } from '../../../src/ruleset/nft/types.ts';
import { tableIn } from '../../captures/nft.ts';

const base = (name: string, hook: string, rules = '', type = 'nat', priority = 'dstnat'): string =>
  `\tchain ${name} {\n\t\ttype ${type} hook ${hook} priority ${priority}; policy accept;\n${rules}\t}\n`;
const chain = (name: string, rules = ''): string => `\tchain ${name} {\n${rules}\t}\n`;
const nat = (...parts: string[]): ReturnType<typeof tableIn> =>
  tableIn(`table ip nat {\n${parts.join('')}}\n`, 'ip nat');
const OWN = base('PREROUTING', 'prerouting');
const LIBVIRTS = chain('LIBVIRT_PRT', '\t\tcounter packets 0 bytes 0 masquerade\n');

/** The native chains, and iptables'. */
function split(...parts: string[]): unknown {
  const { native, iptables } = splitTable(nat(...parts));
  return [native && chainsOf(native).map(({ name }) => name), [...iptables]];
}

describe('a table under a name of iptables', () => {
  it.each<[string, string[], unknown]>([
    ['is iptables’ with base chains of iptables’ alone', [OWN, LIBVIRTS], [undefined, ['PREROUTING', 'LIBVIRT_PRT']]],
    ['is iptables’ without any base chain', [chain('foo')], [undefined, ['foo']]],
    ['is native with a base chain of another name', [base('prerouting', 'prerouting')], [['prerouting'], []]],
    ['or priority', [base('PREROUTING', 'prerouting', '', 'nat', 'dstnat - 5')], [['PREROUTING'], []]],
    ['or hook', [base('PREROUTING', 'input', '', 'nat', 'dstnat')], [['PREROUTING'], []]],
    ['or type', [base('PREROUTING', 'prerouting', '', 'filter')], [['PREROUTING'], []]],
    ['or one that this table has not', [base('FORWARD', 'forward', '', 'filter', '100')], [['FORWARD'], []]],
    [
      'is both: what native chains lead to is native, all else iptables’',
      [base('prerouting', 'prerouting', '\t\tjump a\n'), chain('a', '\t\tgoto b\n'), chain('b'), OWN, LIBVIRTS],
      [
        ['prerouting', 'a', 'b'],
        ['PREROUTING', 'LIBVIRT_PRT'],
      ],
    ],
    [
      'leads on by maps, and not by words in a comment',
      [
        '\tmap m {\n\t\ttype inet_service : verdict\n\t\telements = { 22 : jump ssh }\n\t}\n',
        base('prerouting', 'prerouting', '\t\taccept comment "jump no"\n'),
        chain('ssh'),
        chain('no'),
      ],
      [['prerouting', 'ssh'], ['no']],
    ],
  ])('%s', (_, parts, expected) => expect(split(...parts)).toEqual(expected));

  it('keeps sets and text of the native part, byte for byte', () => {
    const set = '\tset s {\n\t\ttype ipv4_addr\n\t}\n';
    const own = base('prerouting', 'prerouting', '\t\tip saddr @s drop\n');
    const { native } = splitTable(nat(set, OWN, own, LIBVIRTS));
    expect(native && printNftTable(native)).toBe(printNftTable(nat(set, own)));
  });

  it('a chain that was native stays so when nothing leads to it any more', () => {
    const before = nat(base('prerouting', 'prerouting', '\t\tjump web\n'), chain('web'));
    const now = nat(base('prerouting', 'prerouting'), chain('web', '\t\taccept\n'), chain('OTHER'));
    expect([...splitTable(now, before).iptables]).toEqual(['OTHER']);
    expect([...splitTable(nat(OWN, chain('web')), before).iptables]).toEqual(['PREROUTING']);
  });

  it('a native chain that iptables’ rules lead to is shared, with the rule', () => {
    const rule = '\t\tcounter packets 0 bytes 0 jump web\n';
    const both = nat(
      base('prerouting', 'prerouting', '\t\tjump web\n'),
      chain('web'),
      base('PREROUTING', 'prerouting', rule),
    );
    expect(splitTable(both).shared).toEqual({ chain: 'web', text: rule.trim() });
    expect(splitTable(nat(OWN, LIBVIRTS)).shared).toBeUndefined();
  });
});
