// What an administrator does and expects, end to end, with the built program, a real libvirtd and real packets.

import { afterEach, describe, expect, it } from 'vitest';

import { installUserRules, restartNetwork, restoreFile } from './actors.ts';
import { expectLibvirtSound, expectSound, type Stage, wallNow } from './deed-check.ts';
import { initGuard, mendwall, startGuard, writeConfig } from './guard-process.ts';
import { type Hypervisor, type HypervisorOptions, upHypervisor } from './host.ts';
import { expectNeighbourDiscovery } from './neighbour-discovery.ts';
import { ALL_TRAFFIC, portForwardIn, trafficWithin } from './probes.ts';
import { upStage } from './scenario-suite.ts';
import { usersOf } from './yardstick.ts';

let running: Hypervisor[] = [];

async function stageUp(...args: Parameters<typeof upStage>): Promise<Stage> {
  const stage = await upStage(...args);
  running.push(stage.hypervisor);
  return stage;
}

/** A hypervisor with the admin's rules and a guest, without a guard. */
async function hostUp(options: Partial<HypervisorOptions> = {}): Promise<Hypervisor> {
  const hypervisor = await upHypervisor({ name: 'mwz-users', ...options });
  running.push(hypervisor);
  await hypervisor.addGuest();
  await installUserRules(hypervisor);
  return hypervisor;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

interface StatusJson {
  readonly schema: number;
  readonly mode: string;
  readonly drift: readonly { readonly kind: string; readonly family: string; readonly chain: string }[];
  readonly engines: readonly {
    readonly engine: string;
    readonly mixed: boolean;
    readonly evidence: readonly string[];
  }[];
  readonly daemon?: {
    readonly sources: readonly { readonly source: string; readonly state: string; readonly detail: string }[];
  };
}

async function statusJson(hypervisor: Hypervisor): Promise<StatusJson> {
  return JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as StatusJson;
}

/** Everything the kernel holds for iptables, as text without counters. */
async function baseline(hypervisor: Hypervisor): Promise<string> {
  const text = await hypervisor.sh('iptables-save; ip6tables-save; nft -s list ruleset');
  return text
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/counter packets \d+ bytes \d+/g, 'counter');
}

describe('installing', () => {
  it('changes nothing: rules are byte for byte the same after init, start, stop and a second start in observe mode', async () => {
    const hypervisor = await hostUp();
    const before = await baseline(hypervisor);
    await initGuard(hypervisor);
    expect(await baseline(hypervisor)).toBe(before);
    for (let start = 0; start < 2; start++) {
      const guard = await startGuard(hypervisor, { mode: 'observe' });
      expect(await baseline(hypervisor)).toBe(before);
      const status = await mendwall(hypervisor, 'status');
      expect([0, 1]).toContain(status.exitCode);
      expect((await statusJson(hypervisor)).mode).toBe('observe');
      expect(await guard.stop()).toBe(0);
      expect(guard.logSince(0).filter((line) => /^(?:warning|error)/.test(line))).toEqual([]);
      expect(await baseline(hypervisor)).toBe(before);
    }
  });

  it('in observe mode a wipe is told and not mended', async () => {
    const hypervisor = await hostUp();
    await initGuard(hypervisor);
    const guard = await startGuard(hypervisor, { mode: 'observe' });
    await hypervisor.sh('iptables -F');
    await guard.idle();
    expect((await hypervisor.sh('iptables -S FORWARD')).trim()).toBe('-P FORWARD ACCEPT');
    const { drift } = await statusJson(hypervisor);
    expect(new Set(drift.map(({ kind }) => kind))).toEqual(new Set(['lost', 'foreign-lost']));
    expect((await mendwall(hypervisor, 'status')).exitCode).toBe(1);
  });
});

describe('a full wipe by iptables-restore', () => {
  it('is over within 5 s, libvirtd untouched, and the log names who did it', async () => {
    const stage = await stageUp('nft');
    const { hypervisor, guard } = stage;
    const pid = hypervisor.libvirtd.pid();
    await restoreFile(hypervisor);
    expect(await trafficWithin(hypervisor, 5_000)).toEqual(ALL_TRAFFIC);
    await guard.idle();
    await expectSound(stage, usersOf(await wallNow(hypervisor)), 'the wipe');
    expect(hypervisor.libvirtd.pid()).toBe(pid);
    const log = (await mendwall(hypervisor, 'log', '-n', '5', '--json')).stdout.trim().split('\n');
    const entries = log.map(
      (line) =>
        JSON.parse(line) as {
          schema: number;
          event: string;
          kind: string;
          by: string[];
          mended: { owner: string; kind: string }[];
        },
    );
    const mended = entries.flatMap((entry) => (entry.mended ?? []).map((drift) => `${drift.owner} ${drift.kind}`));
    expect(new Set(mended)).toEqual(new Set(['libvirt foreign-lost']));
    expect(entries.flatMap((entry) => entry.by ?? []).join('; ')).toContain('iptables-restor');
    await expectLibvirtSound(stage);
  });
});

describe('the port forward', () => {
  it('survives a restart, SIGHUP, net-destroy and net-start, a wipe, and iptables -F FORWARD', async () => {
    const { hypervisor, guard } = await stageUp('nft');
    const deeds: readonly (() => Promise<unknown>)[] = [
      () => hypervisor.libvirtd.restart(),
      () => hypervisor.libvirtd.sighup(),
      () => restartNetwork(hypervisor),
      () => restoreFile(hypervisor),
      () => hypervisor.sh('iptables -F FORWARD'),
    ];
    for (const deed of deeds) {
      await deed();
      await hypervisor.libvirtd.quiet();
      await guard.idle();
      expect(await portForwardIn(hypervisor)).toBe(true);
    }
    expect(await mendwall(hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
  });
});

describe('a half-healed firewall (iptables -F, then SIGHUP)', () => {
  it('is told as unhooked, put right by one mend, and a second one says `unchanged`', async () => {
    const hypervisor = await hostUp();
    await initGuard(hypervisor);
    await hypervisor.sh(`iptables -F; kill -HUP ${hypervisor.libvirtd.pid()}`);
    await hypervisor.libvirtd.quiet();
    const kinds = (await statusJson(hypervisor)).drift.map(({ kind, chain }) => `${kind} ${chain}`);
    expect(kinds).toContain('foreign-unhooked FORWARD');
    const first = await mendwall(hypervisor, 'mend', '--mode', 'merge');
    expect(first.exitCode, first.stdout + first.stderr).toBe(0);
    expect(await trafficWithin(hypervisor, 3_000)).toEqual(ALL_TRAFFIC);
    expect(await mendwall(hypervisor, 'mend', '--mode', 'merge')).toMatchObject({ exitCode: 0, stdout: 'unchanged\n' });
  });
});

describe('IPv6', () => {
  it('wiped alone is restored like IPv4, IPv4 untouched, and status tells each family', async () => {
    const stage = await stageUp('nft', {
      networks: [
        { name: 'default', bridge: 'virbr0', subnet: '192.168.122', ipv6: { prefix: 'fd00:122::', nat: false } },
      ],
    });
    const { hypervisor, guard } = stage;
    const before = await wallNow(hypervisor);
    await hypervisor.sh('ip6tables -F; ip6tables -X');
    await guard.idle();
    await expectSound(stage, usersOf(before), 'the wipe of IPv6');
    await expectNeighbourDiscovery(hypervisor);
    // The probe can fail: with ND closed the host is not found.
    await guard.stop();
    await hypervisor.sh('ip6tables -I INPUT -p icmpv6 -j DROP');
    await expect(expectNeighbourDiscovery(hypervisor)).rejects.toThrow();
    await hypervisor.sh('ip6tables -D INPUT -p icmpv6 -j DROP');
    await hypervisor.sh('ip6tables -F');
    expect((await mendwall(hypervisor, 'status')).stdout).toMatch(/drift +v4: none; v6: .*lost/);
  });
});

describe('two engines', () => {
  it('a start on a clean host makes no legacy table', async () => {
    const hypervisor = await hostUp();
    const tables = 'cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null || true';
    const before = await hypervisor.sh(tables);
    await initGuard(hypervisor);
    const guard = await startGuard(hypervisor);
    await mendwall(hypervisor, 'status');
    await guard.stop();
    expect(await hypervisor.sh(tables)).toBe(before);
  });

  it('rules in both: status says so, mend refuses with exit 5 and writes nothing', async () => {
    const hypervisor = await hostUp();
    await hypervisor.sh('iptables-legacy -A INPUT -s 203.0.113.66 -j DROP');
    await mendwall(hypervisor, 'init', '--yes');
    const status = await statusJson(hypervisor);
    expect(status.engines.some(({ mixed }) => mixed)).toBe(true);
    await hypervisor.sh('iptables -F FORWARD');
    const before = await baseline(hypervisor);
    const mend = await mendwall(hypervisor, 'mend', '--mode', 'merge');
    expect(mend.exitCode).toBe(5);
    expect(mend.stdout + mend.stderr).toMatch(/both engines/);
    expect(await baseline(hypervisor)).toBe(before);
  });

  it('a native rule in an iptables table: unreadable, exit 5, nothing is changed', async () => {
    const hypervisor = await hostUp();
    await initGuard(hypervisor);
    await hypervisor.sh('nft add rule ip nat PREROUTING ct state new accept');
    await hypervisor.sh('iptables -F FORWARD');
    const mend = await mendwall(hypervisor, 'mend', '--mode', 'merge');
    expect(mend.exitCode).toBe(5);
    expect(mend.stdout + mend.stderr).toMatch(/incompatible/);
    expect((await hypervisor.sh('iptables -S FORWARD')).trim()).toBe('-P FORWARD ACCEPT');
  });
});

describe('contention', () => {
  it('with a rival that insists on the top ends: 5 repairs, one warning that names it, exit 8, and peace when it stops', async () => {
    const hypervisor = await hostUp();
    await initGuard(hypervisor);
    await writeConfig(hypervisor, '[contention]\nbudget = 5\nwindow_s = 8\n');
    await hypervisor.sh('cp /bin/sh /run/lab/libvirtd');
    const guard = await startGuard(hypervisor);
    const sound = (await wallNow(hypervisor)).rules.get('ip filter FORWARD')!;
    const rival = hypervisor.spawn('/run/lab/libvirtd', [
      '-c',
      'while :; do iptables -D FORWARD -j LIBVIRT_FWI; iptables -I FORWARD 1 -j LIBVIRT_FWI; sleep 1; done',
    ]);
    await guard.process.waitFor(/contended/, 15_000);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const lines = guard.logSince(0);
    expect(lines.filter((line) => /displaced; .*edits/.test(line)).length).toBeLessThanOrEqual(5);
    const warnings = lines.filter((line) => /^warning.*contended/.test(line));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/ip filter FORWARD: libvirt.*iptables pid \d+/);
    expect((await mendwall(hypervisor, 'status')).exitCode).toBe(8);
    await hypervisor.sh(
      'kill $(pidof libvirtd | tr " " "\\n" | while read p; do readlink /proc/$p/exe | grep -q /run/lab && echo $p; done)',
    );
    await rival.ended;
    await hypervisor.sh('iptables -C FORWARD -j LIBVIRT_FWI || iptables -I FORWARD 1 -j LIBVIRT_FWI');
    await guard.process.waitFor(/no longer contended/, 30_000);
    await guard.idle();
    // Which of libvirt's jumps comes first is as the rival left it; the admin's accept is above them, the REJECT below.
    const now = (await wallNow(hypervisor)).rules.get('ip filter FORWARD')!;
    expect([now[0], now.at(-1)]).toEqual([sound[0], sound.at(-1)]);
    expect(now.toSorted()).toEqual(sound.toSorted());
    expect((await mendwall(hypervisor, 'status')).exitCode).toBe(0);
  });
});

describe('scripting', () => {
  it('every read command speaks JSON of schema 1 and plain text into a pipe', async () => {
    const { hypervisor } = await stageUp('nft');
    for (const args of [
      ['status'],
      ['diff'],
      ['log'],
      ['snapshot', 'list'],
      ['snapshot', 'show'],
      ['config', 'show'],
      ['hooks', 'status'],
      ['mend'],
    ]) {
      const { stdout, stderr } = await mendwall(hypervisor, ...args, '--json');
      for (const line of stdout
        .trim()
        .split('\n')
        .filter((text) => text !== '')) {
        expect(JSON.parse(line), `${args.join(' ')}: ${stderr}`).toMatchObject({ schema: 1 });
      }
      const plain = await mendwall(hypervisor, ...args);
      expect(plain.stdout + plain.stderr, args.join(' ')).not.toContain('\u001b');
    }
  });

  it('--dry-run changes nothing: neither a rule nor the state folder', async () => {
    const hypervisor = await hostUp();
    await initGuard(hypervisor);
    await hypervisor.sh('iptables -F FORWARD; iptables -A ADMIN -s 203.0.113.5 -j DROP');
    const state = 'cd /var/lib/mendwall; find . -type f | sort | xargs sha256sum';
    const before = [await baseline(hypervisor), await hypervisor.sh(state)];
    for (const args of [
      ['mend', '--mode', 'merge'],
      ['snapshot', '-m', 'x'],
      ['restore', 'latest'],
      ['accept'],
      ['pause'],
      ['resume'],
      ['hooks', 'install'],
      ['snapshot', 'prune'],
    ]) {
      const result = await mendwall(hypervisor, ...args, '--dry-run', '--yes');
      expect(result.stderr, args.join(' ')).not.toMatch(/\n +at /);
      expect([await baseline(hypervisor), await hypervisor.sh(state)], args.join(' ')).toEqual(before);
    }
    expect(await hypervisor.sh('ls /etc/libvirt/hooks')).toBe('');
  });

  it('a closed pipe, and a person without root', async () => {
    const { hypervisor } = await stageUp('nft');
    await hypervisor.sh('iptables -A ADMIN -s 203.0.113.5 -j DROP');
    const real = (await mendwall(hypervisor, 'version')).command.args.find((arg) => arg.endsWith('.cjs')) ?? '';
    const piped = await hypervisor.exec('sh', ['-c', `node ${real} diff | head -1`]);
    expect(piped).toMatchObject({ exitCode: 0, stderr: '' });
    const person = await hypervisor.exec('setpriv', ['--reuid', '65534', '--clear-groups', 'node', real, 'mend']);
    expect(person.exitCode).toBe(7);
    expect(person.stderr.trim().split('\n')).toHaveLength(1);
  });
});
