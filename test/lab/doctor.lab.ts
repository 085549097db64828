// `mendwall doctor` on a real hypervisor: nothing on a healthy host, and each thing that is broken for real turns its check, and no
// other. Where the line to paste puts it right, it is run.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DoctorResult } from '../../src/verbs/doctor.ts';
import { installUserRules } from './actors.ts';
import { initGuard, mendwall, startGuard } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { writeConfig } from './scenario-suite.ts';

type Finding = DoctorResult['findings'][number];

async function findings(hypervisor: Hypervisor): Promise<readonly Finding[]> {
  const { stdout, stderr } = await mendwall(hypervisor, 'doctor', '--json');
  expect(stderr).toBe('');
  return (JSON.parse(stdout) as DoctorResult).findings;
}

const isWrong = ({ verdict }: Finding): boolean => verdict === 'WARN' || verdict === 'FAIL';

interface Said {
  /** What is said besides that no daemon runs: `FAIL engines`, each once. */
  readonly wrong: readonly string[];
  /** The lines to paste of one check. */
  readonly pasteOf: (check: string) => readonly string[];
}

async function examined(hypervisor: Hypervisor): Promise<Said> {
  const all = await findings(hypervisor);
  const said = new Set(all.filter(isWrong).map(({ verdict, check }) => `${verdict} ${check}`));
  return {
    wrong: [...said].filter((each) => each !== 'WARN daemon').toSorted(),
    pasteOf: (check) => all.flatMap((each) => (each.check === check && each.paste !== undefined ? [each.paste] : [])),
  };
}

const wrong = async (hypervisor: Hypervisor): Promise<readonly string[]> => (await examined(hypervisor)).wrong;

async function paste(hypervisor: Hypervisor, lines: readonly string[]): Promise<void> {
  expect(lines).not.toEqual([]);
  for (const line of lines) await runLine(hypervisor, line);
}

async function runLine(hypervisor: Hypervisor, line: string): Promise<void> {
  if (!line.startsWith('mendwall ')) return void (await hypervisor.sh(line));
  await mendwall(hypervisor, ...line.split(' ').slice(1));
}

/** Breaks something, and how it is undone where no line was pasted. */
interface Breakage {
  readonly what: string;
  readonly how: string;
  readonly wrong: readonly string[];
  readonly undo?: string;
  /** The check whose line to paste puts it right. */
  readonly pasted?: string;
}

const BREAKAGES: readonly Breakage[] = [
  {
    what: 'libvirt’s jumps are gone, its chains are filled',
    how: 'for c in FWX FWI FWO; do iptables -D FORWARD -j LIBVIRT_$c; done',
    wrong: ['FAIL libvirt-chains'],
    pasted: 'libvirt-chains',
  },
  {
    what: 'a ban in a chain that nothing jumps to',
    how: 'iptables -N f2b-sshd; iptables -A f2b-sshd -s 203.0.113.7 -j REJECT',
    wrong: ['FAIL fail2ban-unhooked'],
    undo: 'iptables -F f2b-sshd; iptables -X f2b-sshd',
  },
  {
    what: 'nftables.service starts at boot, with Debian’s file',
    how: `printf '#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0;\n\t}\n}\n' > /etc/nftables.conf
      mkdir -p /etc/systemd/system/sysinit.target.wants
      ln -s /lib/systemd/system/nftables.service /etc/systemd/system/sysinit.target.wants/`,
    wrong: ['WARN boot-loaders', 'WARN flush-ruleset'],
    undo: 'rm /etc/systemd/system/sysinit.target.wants/nftables.service',
  },
  {
    what: 'rules.v4 was saved while libvirt ran',
    how: 'mkdir -p /etc/iptables; iptables-save > /etc/iptables/rules.v4',
    wrong: ['WARN stale-boot-rules'],
    pasted: 'stale-boot-rules',
  },
  {
    what: 'a native table stops what guests ask of the host',
    how: `nft 'table inet closed { chain input { type filter hook input priority 10; policy drop; ct state established accept; }; }'`,
    wrong: ['WARN guests-blocked'],
    undo: 'nft delete table inet closed',
  },
  {
    what: 'a chain of RackConnect’s that ends in DROP, below a rule of yours',
    how: 'iptables -N RS-RackConnect-INBOUND; iptables -A RS-RackConnect-INBOUND -j DROP; iptables -A INPUT -j RS-RackConnect-INBOUND',
    wrong: ['FAIL vendor-chain', 'WARN vendor-chain'],
    undo: 'iptables -D INPUT -j RS-RackConnect-INBOUND; iptables -F RS-RackConnect-INBOUND; iptables -X RS-RackConnect-INBOUND',
  },
  {
    what: 'guests on a bridge of the admin’s, br_netfilter, and FORWARD drops',
    how: `ip link add br9 type bridge; ip link add v9 type veth peer name w9; ip link set v9 master br9
      sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=0; iptables -A FORWARD -j DROP`,
    wrong: ['FAIL bridge-netfilter'],
    pasted: 'bridge-netfilter',
    undo: 'iptables -D FORWARD -j DROP; ip link del br9; ip link del v9',
  },
  {
    what: 'a pause',
    how: ':',
    wrong: ['WARN paused'],
    pasted: 'paused',
  },
];

describe('on libvirt 9', () => {
  let hypervisor: Hypervisor;
  beforeAll(async () => {
    hypervisor = await upHypervisor({ name: 'doctor' });
    await hypervisor.addGuest();
    await installUserRules(hypervisor);
    await initGuard(hypervisor);
    await writeConfig(hypervisor, 'mode = "merge"\n');
  });
  afterAll(() => hypervisor?.down());

  it('finds nothing on a healthy host with a daemon, and ends with 0', async () => {
    const guard = await startGuard(hypervisor);
    const { exitCode, stdout } = await mendwall(hypervisor, 'doctor');
    expect(stdout.split('\n').filter((line) => /^(?:WARN|FAIL|SKIP)/.test(line))).toEqual([]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('PASS  libvirt-chains');
    expect(await guard.stop()).toBe(0);
  });

  it('writes nothing', async () => {
    const look =
      'iptables-save; ip6tables-save; nft list ruleset; find /etc /var/lib/mendwall /run/mendwall /run/libvirt -newer /run/lab/mark -type f';
    await hypervisor.sh('touch /run/lab/mark');
    const before = await hypervisor.sh(look);
    await mendwall(hypervisor, 'doctor');
    const strip = (text: string): string => text.replace(/^#.*\n|\[\d+:\d+\]|packets \d+ bytes \d+/gm, '');
    expect(strip(await hypervisor.sh(look))).toBe(strip(before));
  });

  it.each(BREAKAGES)('$what: $wrong', async ({ how, wrong: wanted, undo, pasted }) => {
    if (wanted[0] === 'WARN paused') await mendwall(hypervisor, 'pause');
    await hypervisor.sh(how);
    const said = await examined(hypervisor);
    expect(said.wrong).toEqual(wanted);
    if (pasted !== undefined) await paste(hypervisor, said.pasteOf(pasted));
    // What is undone without such a line is seen to be gone by the next one.
    if (pasted !== undefined) expect(await wrong(hypervisor)).toEqual([]);
    if (undo !== undefined) await hypervisor.sh(undo);
  });

  it('the half-healed state (iptables -F, SIGHUP): said, mended by the line to paste, and then unchanged', async () => {
    await hypervisor.sh('iptables -F');
    await hypervisor.libvirtd.sighup();
    await hypervisor.libvirtd.quiet(600);
    const said = await findings(hypervisor);
    const unhooked = said.find(({ check, verdict }) => check === 'libvirt-chains' && verdict === 'FAIL');
    expect(unhooked?.evidence).toMatch(/LIBVIRT_FWI.* filled but not referenced/);
    await paste(hypervisor, [unhooked?.paste ?? '']);
    expect(await wrong(hypervisor)).toEqual([]);
    const { exitCode, stdout } = await mendwall(hypervisor, 'mend', '--mode', 'merge');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('unchanged')]);
  });

  it('hooks that libvirtd does not know of, until it starts again', async () => {
    // libvirtd's start is known to a second.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await mendwall(hypervisor, 'hooks', 'install');
    expect(await wrong(hypervisor)).toEqual(['WARN hooks-unheard']);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await hypervisor.libvirtd.restart();
    await hypervisor.libvirtd.quiet();
    expect(await wrong(hypervisor)).toEqual([]);
  });

  it('passes nothing that only root can read', async () => {
    const command = 'setpriv --reuid 65534 --regid 65534 --clear-groups node ';
    const program = `${new URL('../../dist/mendwall.cjs', import.meta.url).pathname} doctor --json`;
    const { findings: said } = JSON.parse(await hypervisor.sh(`${command}${program} || :`)) as DoctorResult;
    const passed = said.filter(({ verdict }) => verdict !== 'SKIP').map(({ check }) => check);
    const rules = [
      'libvirt-chains',
      'libvirt-stale',
      'guests-blocked',
      'fail2ban-unhooked',
      'snapshot',
      'your-rules',
      'daemon',
    ];
    expect(said.filter(({ check }) => rules.includes(check)).map(({ verdict }) => verdict)).not.toContain('PASS');
    expect(passed).toContain('boot-loaders');
    expect(said.filter(isWrong)).toEqual([]);
  });

  it('libvirt-dbus that is not there', async () => {
    await hypervisor.sh('kill $(cat /run/lab/libvirt-dbus.pid); sleep 0.2');
    expect(await wrong(hypervisor)).toEqual(['WARN libvirt-dbus']);
    await hypervisor.startLibvirtDbus();
    expect(await wrong(hypervisor)).toEqual([]);
  });

  it('rules in both engines', async () => {
    await hypervisor.sh('iptables-legacy -A INPUT -s 203.0.113.7 -j DROP');
    expect(await wrong(hypervisor)).toContain('FAIL engines');
    await hypervisor.sh('iptables-legacy -F');
    expect(await wrong(hypervisor)).toEqual([]);
  });
});

describe('on libvirt 11 with its nftables backend', () => {
  let hypervisor: Hypervisor | undefined;
  beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
  afterEach(() => hypervisor?.down());

  it('Docker’s policy cuts the guests off; the lines to paste let them through', async () => {
    hypervisor = await upHypervisor({ name: 'doctor-11', libvirt: '11', backend: 'nftables' });
    await initGuard(hypervisor);
    await writeConfig(hypervisor, 'mode = "merge"\n');
    await hypervisor.sh(`iptables -N DOCKER; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN
      iptables -I FORWARD -j DOCKER-USER; iptables -P FORWARD DROP`);
    const said = await examined(hypervisor);
    expect(said.wrong).toEqual(['FAIL docker-forward']);
    await paste(hypervisor, said.pasteOf('docker-forward'));
    expect(await wrong(hypervisor)).toEqual([]);
  });
});
