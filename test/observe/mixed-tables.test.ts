// What iptables-save prints of tables that hold native chains as well (captured with 1.8.9; 1.8.11 prints the same).

import { describe, expect, it } from 'vitest';
import type { Host } from '../../src/host/host.ts';
import { readFamily } from '../../src/observe/rulesets.ts';

const MIXED = "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n";
const HIDDEN = "# Table `nat' is incompatible, use 'nft' tool.\n";
const printed = (rules: string): string =>
  `*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n${rules}COMMIT\n`;
const NATIVE = `	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 8022 jump web
	}
	chain web {
		accept
	}
`;
const LIBVIRTS = `	chain LIBVIRT_PRT {
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		counter jump LIBVIRT_PRT
	}
`;

/** The chains of `nat` as read: names and rules; or why not. */
async function natOf(saved: string, listed: string, json = '{}'): Promise<unknown> {
  const exec: Host['exec'] = (command) => {
    const stdout = command.file === 'nft' ? (command.args[0] === '-j' ? json : `table ip nat {\n${listed}}\n`) : saved;
    return Promise.resolve({
      command,
      exitCode: 0,
      stdout,
      stderr: '',
      durationMs: 0,
      timedOut: false,
      pid: undefined,
    });
  };
  const read = await readFamily({ exec } as Host, 'ip');
  if (read.kind === 'unreadable') return read.why;
  const chains = [...(read.ruleset.tables.get('nat')?.chains.values() ?? [])];
  return chains.flatMap(({ name, policy, rules }) => (policy === '-' ? [name] : []).concat(rules.map((r) => r.text)));
}

describe('a table of iptables’ with native base chains', () => {
  it('is not there for iptables when all of it is native', async () => {
    expect(await natOf(MIXED + printed(':web - [0:0]\n-A web -j ACCEPT\n'), NATIVE)).toEqual([]);
  });

  it('holds iptables’ part and nothing native', async () => {
    const rules = ':web - [0:0]\n:LIBVIRT_PRT - [0:0]\n-A POSTROUTING -j LIBVIRT_PRT\n-A web -j ACCEPT\n';
    expect(await natOf(MIXED + printed(rules), NATIVE + LIBVIRTS)).toEqual([
      '-A POSTROUTING -j LIBVIRT_PRT',
      'LIBVIRT_PRT',
    ]);
  });

  it('is not there for iptables either when a native chain hides it', async () => {
    expect(await natOf(HIDDEN, NATIVE.replace('\t\taccept', '\t\tct state new accept'))).toEqual([]);
  });

  it('is unreadable when that hides iptables’ own part: with the rule', async () => {
    const rule = (chain: string, handle: number, expr: unknown[]): unknown => ({
      rule: { family: 'ip', table: 'nat', chain, handle, expr },
    });
    const ct = { match: { op: 'in', left: { ct: { key: 'state' } }, right: 'new' } };
    const json = JSON.stringify({
      nftables: [
        rule('prerouting', 3, [ct, { jump: { target: 'web' } }]), // iptables-save leaves this chain out, so it hides nothing
        rule('POSTROUTING', 4, [{ counter: {} }, { jump: { target: 'LIBVIRT_PRT' } }]),
        rule('web', 5, [ct, { accept: null }]),
      ],
    });
    expect(await natOf(HIDDEN, NATIVE + LIBVIRTS, json)).toMatch(
      /^table nat is incompatible, .*: chain web holds .*"ct"/,
    );
  });
});
