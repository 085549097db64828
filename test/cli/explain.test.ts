// `mendwall explain` and `blocked` in `mendwall status`, as a person sees them, on a host in memory whose kernel holds
// libvirt's rules as they were captured, and whose `ip` and `nft` answer as measured.

import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT, exitOfDrift } from '../../src/cli/exit-codes.ts';
import type { BlockedDrift } from '../../src/verbs/blocked.ts';
import { type FakeTerminal, openFakeTerminal } from './fake-terminal.ts';

const SCHEMA = JSON.parse(readFileSync(new URL('../../docs/schema.json', import.meta.url), 'utf8')) as object;
const ajv = new Ajv({ allErrors: true });
ajv.addSchema(SCHEMA, 'mendwall');

const capture = (name: string): string =>
  readFileSync(new URL(`../captures/libvirt/libvirt-9.0-iptables-nft/${name}`, import.meta.url), 'utf8');

const closed = (rule = ''): string => `table inet closed {
	chain input {
		type filter hook input priority 10; policy drop;
		ct state established,related accept
		${rule}
	}
}
`;

/** What `ip -j route get` says, by destination. */
const ROUTES: Readonly<Record<string, object>> = {
  '192.168.122.10': { dst: '192.168.122.10', dev: 'virbr0' },
  '203.0.113.9': { dst: '203.0.113.9', gateway: '198.51.100.2', dev: 'eth0' },
  '255.255.255.255': { type: 'broadcast', dst: '255.255.255.255', dev: 'lo' },
};

const ADDRESSES = [
  { ifname: 'lo', addr_info: [{ family: 'inet', local: '127.0.0.1' }] },
  { ifname: 'eth0', addr_info: [{ family: 'inet', local: '198.51.100.1' }] },
  { ifname: 'virbr0', addr_info: [{ family: 'inet', local: '192.168.122.1' }] },
];

let terminal: FakeTerminal;
let native: string;

function answerIp(args: readonly string[]): { exitCode?: number; stdout?: string; stderr?: string } {
  if (args.includes('addr')) return { stdout: JSON.stringify(ADDRESSES) };
  if (args.includes('show')) return { stdout: JSON.stringify([{ dst: 'default', dev: 'eth0' }]) };
  const [from, iif] = [args.includes('from'), args.includes('iif')];
  const isLocal = args.includes('198.51.100.1');
  if ((iif && !from) || (from && !iif && !isLocal))
    return { exitCode: 2, stderr: 'RTNETLINK answers: Invalid argument\n' };
  const route = ROUTES[args[4] ?? ''];
  return route === undefined
    ? { exitCode: 2, stderr: 'RTNETLINK answers: Network is unreachable\n' }
    : { stdout: JSON.stringify([route]) };
}

beforeEach(async () => {
  terminal = await openFakeTerminal();
  native = '';
  const { host } = terminal;
  host.answer('ip', ({ args }) => answerIp(args));
  host.answer('nft', ({ args }) => (args.join(' ') === '-s list ruleset' ? { stdout: native } : undefined));
  host.files.texts.set('/run/libvirt/network/default.xml', capture('nat.run-status.xml'));
  await host.exec({ file: 'iptables-restore', args: [], input: capture('nat.iptables-save.txt') });
  await host.exec({ file: 'ip6tables-restore', args: [], input: capture('nat.ip6tables-save.txt') });
  await terminal.sh(
    'iptables -t nat -A PREROUTING -i eth0 -p tcp -m tcp --dport 8022 -j DNAT --to-destination 192.168.122.10:22',
  );
  await terminal.sh('iptables -I FORWARD 1 -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT');
});
afterEach(() => terminal.close());

const PORT_FORWARD = 'explain tcp from 203.0.113.9 to 198.51.100.1:8022 in eth0';
const DNS = 'explain udp from 192.168.122.10 to 192.168.122.1:53 in virbr0';

describe('explain', () => {
  it('follows a port forward through NAT and the routes, and names the rule that accepts', async () => {
    const { out, exitCode } = await terminal.run(PORT_FORWARD);
    expect(exitCode).toBe(0);
    expect(out).toBe(`tcp from 203.0.113.9 to 198.51.100.1:8022 in eth0 state new

prerouting, in eth0
  ip mangle PREROUTING               -P PREROUTING ACCEPT
  ip nat PREROUTING      1  user     -A PREROUTING -i eth0 -p tcp -m tcp --dport 8022 -j DNAT --to-destination 192.168.122.10:22
                                     -> to 192.168.122.10:22

forward, in eth0, out virbr0
  ip mangle FORWARD                  -P FORWARD ACCEPT
  ip filter FORWARD      1  user     -A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT

postrouting, out virbr0
  ip mangle POSTROUTING  1  libvirt  -A POSTROUTING -j LIBVIRT_PRT
  ip mangle POSTROUTING              -P POSTROUTING ACCEPT
  ip nat POSTROUTING     1  libvirt  -A POSTROUTING -j LIBVIRT_PRT
  ip nat POSTROUTING                 -P POSTROUTING ACCEPT

verdict     accept
decided by  ip filter FORWARD 1 (user): -A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT
`);
  });

  it("names libvirt's own reject, with its number", async () => {
    const { out, exitCode } = await terminal.run('explain tcp from 203.0.113.9 to 192.168.122.10:80 in eth0');
    expect(exitCode).toBe(0);
    expect(out).toContain(`
verdict     reject (icmp-port-unreachable)
decided by  ip filter LIBVIRT_FWI 2 (libvirt): -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
`);
  });

  it("names the filter table's policy where no rule says anything", async () => {
    const { out } = await terminal.run('explain tcp from 203.0.113.9 to 198.51.100.1:22 in eth0');
    expect(out).toContain('\n  ip nat INPUT ');
    expect(out).toContain('verdict     accept\ndecided by  ip filter INPUT: -P INPUT ACCEPT\n');
  });

  it('walks native tables, too, and leaves iptables-nft’s own out of the listing', async () => {
    native = `${closed()}table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n`;
    const { out, exitCode } = await terminal.run(DNS);
    expect(exitCode).toBe(0);
    expect(out).toContain(`
  ip filter LIBVIRT_INP  1  libvirt  -A LIBVIRT_INP -i virbr0 -p udp -m udp --dport 53 -j ACCEPT
  inet closed input                  policy drop

verdict     drop
decided by  inet closed input: policy drop
`);
  });

  it.each([
    ['explain tcp from 203.0.113.9 to 198.51.100.1:22 in eth0', 'input'],
    ['explain udp from 0.0.0.0 to 255.255.255.255:67 sport 68 in virbr0', 'input'],
    ['explain udp to 224.0.0.251:5353 in virbr0', 'input'],
    ['explain tcp from 198.51.100.1 to 203.0.113.9:80', 'output'],
    ['explain tcp from 192.168.122.10 to 203.0.113.9:80 in virbr0', 'forward'],
    ['explain tcp to 203.0.113.9:80 in virbr0', 'forward'],
    ['explain tcp from 192.168.122.10 to 203.0.113.9:80', 'forward'],
  ])('%s is %s', async (line, journey) => {
    const document = JSON.parse((await terminal.run(`${line} --json`)).out) as { packet: { oif?: string } };
    expect(document).toMatchObject({ journey });
    expect(document.packet.oif).toBe(journey === 'input' ? undefined : 'eth0');
  });

  it('ends with 1 and says what it depends on where the host does not know either', async () => {
    const unknown = await openFakeTerminal();
    unknown.host.answer('ip', () => ({ exitCode: 127 }));
    unknown.host.answer('nft', () => ({ exitCode: 127 }));
    const { out, exitCode } = await unknown.run('explain tcp from 203.0.113.9 to 192.168.122.10:443 in eth0');
    unknown.close();
    expect(exitCode).toBe(EXIT.drift);
    expect(out).toContain('verdict     depends\ndepends on  it is not known where the destination is routed\n');
    expect(out).not.toContain('decided by');
  });

  it('does not say accept of what the kernel has no way for', async () => {
    const { out, exitCode } = await terminal.run('explain tcp from 192.168.122.10 to 10.9.9.9:80 in virbr0 out eth0');
    expect([exitCode, out.includes('verdict     accept')]).toEqual([0, true]);
    const asked = await terminal.run('explain tcp from 192.168.122.10 to 10.9.9.9:22 in virbr0');
    expect(asked.exitCode).toBe(1);
    expect(asked.out).toContain('the kernel\'s routing: ip route get says "Network is unreachable"');
  });

  it('notes an interface that is not there, with the nearest one', async () => {
    const { out } = await terminal.run('explain udp from 192.168.122.10 to 192.168.122.1:53 in virbrO');
    expect(out).toContain('note        there is no interface "virbrO" on this host (did you mean "virbr0"?)\n');
  });

  it('names bridge tables with rules in them, and no others', async () => {
    const bridge = (name: string, rule: string): string =>
      `table bridge ${name} {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n${rule}\t}\n}\n`;
    native = bridge('nat', '') + bridge('mine', '\t\tether type arp drop\n');
    const { out } = await terminal.run(DNS);
    expect(out).toContain('not looked at  table bridge mine\n');
    expect(out).not.toContain('bridge nat');
  });

  it.each([PORT_FORWARD, DNS, 'explain tcp to 10.9.9.9 in virbr0 state any', 'explain icmp to ::1'])(
    '%s --json is that of the schema',
    async (line) => {
      native = closed();
      const document = JSON.parse((await terminal.run(`${line} --json`)).out) as object;
      const validate = ajv.compile({ $ref: 'mendwall#/definitions/document-explain' });
      validate(document);
      expect(validate.errors ?? []).toEqual([]);
    },
  );

  it('of a file asks this host nothing, and needs no root', async () => {
    const asked: string[] = [];
    terminal.host.beforeExec(({ file }) => void asked.push(file));
    terminal.host.files.texts.set('/rules.v4', capture('nat.iptables-save.txt'));
    const told = await terminal.run('explain tcp to 192.168.122.10:80 in eth0 out virbr0 --rules /rules.v4', {
      uid: 1000,
    });
    expect([told.exitCode, asked]).toEqual([0, []]);
    expect(told.out).toContain('decided by  ip filter LIBVIRT_FWI 2 (libvirt)');
    expect((await terminal.run('explain tcp to 192.168.122.10:80 in eth0 --rules /rules.v4')).exitCode).toBe(1);
    expect((await terminal.run('explain tcp to 10.0.0.1 --rules /none')).exitCode).toBe(2);
  });

  it('ends with 2 for words that are no packet, 5 for rules that cannot be read, 7 for others than root', async () => {
    expect(await terminal.run('explain tcp form 10.0.0.1')).toMatchObject({
      exitCode: 2,
      out: '',
      err: expect.stringContaining('(did you mean "from"?)') as string,
    });
    terminal.host.answer('nft', ({ args }) =>
      args[0] === '-s' ? { exitCode: 1, stderr: 'Operation not permitted (you must be root)\n' } : undefined,
    );
    expect((await terminal.run(DNS)).exitCode).toBe(0);
    native = 'table inet broken {\n';
    expect((await terminal.run(DNS)).exitCode).toBe(5);
    expect((await terminal.run(DNS, { uid: 1000 })).exitCode).toBe(7);
  });
});

describe('when both engines hold rules', () => {
  it('explain refuses with 5: packets pass both', async () => {
    await terminal.sh('iptables-legacy -A INPUT -s 10.0.0.1/32 -j DROP');
    const told = await terminal.run(DNS);
    expect(told).toMatchObject({ exitCode: EXIT.refused, out: '' });
    expect(told.err).toContain("packets pass the other engine's rules, too");
  });
});

describe('blocked', () => {
  async function blocked(): Promise<BlockedDrift[]> {
    const told = await terminal.run('status --json');
    const document = JSON.parse(told.out) as { drift: BlockedDrift[] };
    const validate = ajv.compile({ $ref: 'mendwall#/definitions/document-status' });
    validate(document);
    expect(validate.errors ?? []).toEqual([]);
    return document.drift.filter(({ kind }) => kind === 'blocked');
  }

  beforeEach(async () => void (await terminal.run('init -q')));

  it('is what a native table drops of what libvirt lets through, each with what opens it', async () => {
    expect(await blocked()).toEqual([]);
    native = closed();
    expect(
      (await blocked()).map(({ table, chain, text, owner, opening }) => [table, chain, text, owner, opening]),
    ).toEqual(
      ['udp dport 67', 'udp dport 53', 'tcp dport 53'].map((what) => [
        'inet closed',
        'input',
        'policy drop',
        'unknown',
        `nft insert rule inet closed input iifname "virbr0" ${what} accept`,
      ]),
    );
    native = closed('iifname "virbr0" accept');
    expect(await blocked()).toEqual([]);
  });

  it('is not what the copy of a drop in mendwall’s own table stops: the drop itself is told of', async () => {
    const dropsDns = (table: string): string =>
      `table ip ${table} {\n\tchain input {\n\t\ttype filter hook input priority filter - 10; policy accept;\n\t\tudp dport 53 counter drop\n\t}\n}\n`;
    native = dropsDns('other');
    expect(await blocked()).toHaveLength(1);
    native = dropsDns('mendwall');
    expect(await blocked()).toEqual([]);
  });

  it('is a line of the screen, and no failure by itself', async () => {
    native = closed();
    const { out, exitCode } = await terminal.run('status');
    expect(exitCode).toBe(EXIT.noDaemon);
    expect(out).toContain('drift     v4: 3 blocked; v6: none\n');
    expect(out).toContain(
      '  blocked ip inet closed input: policy drop (network default: drops guests\' DNS to the host; opened by: nft insert rule inet closed input iifname "virbr0" udp dport 53 accept)\n',
    );
    expect(exitOfDrift(await blocked())).toBe(EXIT.ok);
  });

  it("is the user's own rule above libvirt's jump, by its owner", async () => {
    await terminal.sh('iptables -I FORWARD 1 -i virbr0 -j DROP');
    expect(await blocked()).toMatchObject([
      {
        table: 'filter',
        chain: 'FORWARD',
        text: '-A FORWARD -i virbr0 -j DROP',
        owner: 'user',
        opening: 'iptables -I FORWARD -s 192.168.122.0/24 -i virbr0 -j ACCEPT',
      },
    ]);
  });

  it('is not said where something decides that is not known', async () => {
    native = closed('limit rate 10/second accept');
    expect(await blocked()).toEqual([]);
  });

  it("is not said of iptables while libvirt's own rules are gone: that is said", async () => {
    await terminal.sh('iptables -P FORWARD DROP');
    await terminal.sh('iptables -F');
    const { drift } = JSON.parse((await terminal.run('status --json')).out) as { drift: BlockedDrift[] };
    const kinds = new Set(drift.map(({ kind }) => kind as string));
    expect([kinds.has('foreign-lost'), kinds.has('blocked')]).toEqual([true, false]);
  });

  it('is looked for by status alone, not by a pass', async () => {
    const listings: string[] = [];
    terminal.host.beforeExec(({ args }) => void (args.includes('ruleset') && listings.push(args.join(' '))));
    native = closed();
    expect((await terminal.run('mend -n')).out).toBe('unchanged\n');
    expect(listings).toEqual([]);
    await terminal.run('status');
    expect(listings).toEqual(['-s list ruleset']);
  });
});
