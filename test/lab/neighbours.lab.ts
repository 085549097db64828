// The whole guard beside a bus that dies, hooks that must never hold libvirt up, and other programs that write rules.
// Those programs are stand-ins: scripts with their names that run the commands the real ones run (iptables' own, on the real
// kernel; texts as in test/captures/writers).

import { afterEach, describe, expect, it } from 'vitest';

import { restartNetwork } from './actors.ts';
import { expectSound, type Stage, wallNow } from './deed-check.ts';
import type { Drift } from '../../src/merge/drift.ts';
import { mendwall } from './guard-process.ts';
import type { Hypervisor } from './host.ts';
import { ALL_TRAFFIC, trafficWithin } from './probes.ts';
import { upStage } from './scenario-suite.ts';
import { activeNetworks, faultsOf, usersOf } from './yardstick.ts';

let running: Hypervisor[] = [];

async function up(): Promise<Stage> {
  const stage = await upStage('nft');
  running.push(stage.hypervisor);
  return stage;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

/** Health of an event source, asked until it is `state`; the last answer when that does not happen in time. */
async function sourceBecomes({ guard }: Stage, name: string, state: string, timeoutMs: number): Promise<string> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const source = (await guard.status()).sources.find((each) => each.source === name);
    if (source?.state === state || performance.now() > endMs) return source?.state ?? 'absent';
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe('the bus', () => {
  it('dies and comes back: the guard stays, says degraded, still mends, and hears networks again', async () => {
    const stage = await up();
    const { hypervisor, guard } = stage;
    const users = usersOf(await wallNow(hypervisor));
    const networks = await activeNetworks(hypervisor);
    await hypervisor.sh('kill $(cat /run/lab/libvirt-dbus.pid)');
    expect(await sourceBecomes(stage, 'libvirt-dbus', 'degraded', 10_000)).toBe('degraded');
    await hypervisor.sh('kill $(pidof dbus-daemon); while pidof dbus-daemon >/dev/null; do sleep 0.05; done');
    expect(await sourceBecomes(stage, 'firewalld', 'degraded', 20_000)).toBe('degraded');
    const status = await mendwall(hypervisor, 'status');
    expect(status.stdout, status.stderr).toMatch(/libvirt-dbus +degraded/);
    await hypervisor.sh('iptables -F');
    await guard.idle();
    expect(
      faultsOf(await wallNow(hypervisor), users, networks),
      guard.logSince(Math.max(0, guard.logMark() - 10)).join('\n'),
    ).toEqual([]);
    await hypervisor.sh(
      'rm -f /run/dbus/pid; dbus-daemon --system --fork --nopidfile --nosyslog </dev/null >/dev/null 2>&1',
    );
    // libvirtd ends with the bus (measured: GDBus exit-on-close).
    await hypervisor.libvirtd.kill();
    await hypervisor.libvirtd.start();
    await hypervisor.startLibvirtDbus();
    expect(await sourceBecomes(stage, 'libvirt-dbus', 'ok', 45_000)).toBe('ok');
    const mark = guard.logMark();
    await restartNetwork(hypervisor);
    await guard.idle();
    expect(guard.logSince(mark).join('\n')).toMatch(/libvirt done/);
    await expectSound(stage, users, 'after the bus came back');
  });
});

describe('hooks', () => {
  const HOOKS = '/etc/libvirt/hooks';

  it('of the admin stay and run, and a qemu migration’s XML passes unchanged', async () => {
    const { hypervisor } = await up();
    await hypervisor.sh(
      `printf '#!/bin/sh\\necho "$@" >> /run/lab/admin-hook\\n' > ${HOOKS}/network; chmod +x ${HOOKS}/network`,
    );
    await mendwall(hypervisor, 'hooks', 'install', '--yes');
    await hypervisor.libvirtd.restart();
    await restartNetwork(hypervisor);
    expect(await hypervisor.sh('cat /run/lab/admin-hook')).toMatch(/default started begin/);
    const hook = (await hypervisor.sh(`find ${HOOKS} -path '*qemu*' -type f | head -1`)).trim();
    const xml = '<domain><name>g1</name></domain>\n';
    const migrate = await hypervisor.exec(hook, ['g1', 'migrate', 'begin', '-'], { input: xml });
    // libvirt takes an empty answer as "unchanged" (hooks documentation, migrate).
    expect(migrate).toMatchObject({ exitCode: 0, stderr: '' });
    expect(['', xml]).toContain(migrate.stdout);
  });
});

describe('other neighbours', () => {
  /** fail2ban 1.0.2's iptables-multiport action: `ban` makes the jail's chain at the first time, `stop` takes all away. */
  const FAIL2BAN = `#!/bin/sh
jump="INPUT -p tcp -m multiport --dports 22 -j f2b-sshd"
case $1 in
  ban) iptables -w -n -L f2b-sshd >/dev/null 2>&1 || { iptables -w -N f2b-sshd; iptables -w -A f2b-sshd -j RETURN; iptables -w -I $jump; }
       iptables -w -I f2b-sshd 1 -s $2 -j REJECT --reject-with icmp-port-unreachable ;;
  unban) iptables -w -D f2b-sshd -s $2 -j REJECT --reject-with icmp-port-unreachable ;;
  reload) iptables -w -A f2b-sshd -j RETURN; iptables -w -I $jump ;;
  stop) iptables -w -D $jump; iptables -w -F f2b-sshd; iptables -w -X f2b-sshd ;;
esac
`;
  /** dockerd 20.10's filter rules, each by its own command; DOCKER-USER first, and at the top. */
  const DOCKERD = `#!/bin/sh
for chain in DOCKER DOCKER-USER; do iptables --wait -N $chain 2>/dev/null; done
iptables --wait -I FORWARD -i docker0 -o docker0 -j ACCEPT
iptables --wait -I FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables --wait -I FORWARD -o docker0 -j DOCKER
iptables --wait -C DOCKER-USER -j RETURN 2>/dev/null || iptables --wait -A DOCKER-USER -j RETURN
iptables --wait -D FORWARD -j DOCKER-USER 2>/dev/null
iptables --wait -I FORWARD -j DOCKER-USER
`;

  async function upWith(name: string, script: string): Promise<Stage & { run(...words: string[]): Promise<void> }> {
    const stage = await up();
    const path = `/run/lab/${name}`;
    await stage.hypervisor.sh(`cat > ${path}; chmod +x ${path}`, { input: script });
    return {
      ...stage,
      run: async (...words) => {
        await stage.hypervisor.sh([path, ...words].join(' '));
        await stage.guard.idle();
      },
    };
  }

  async function driftOf({ hypervisor }: Stage): Promise<readonly Drift[]> {
    const { stdout } = await mendwall(hypervisor, 'status', '--json');
    return (JSON.parse(stdout) as { drift: readonly Drift[] }).drift.filter(({ kind }) => kind !== 'shadowed');
  }

  const save = ({ hypervisor }: Stage): Promise<string> =>
    hypervisor.sh("iptables-save | grep -v '^#\\|^:mw-' | sed 's/ \\[.*//'");

  it('ban and unban, stop and start again: nothing of it is drift, and the guard writes nothing', async () => {
    const stage = await upWith('fail2ban-server', FAIL2BAN);
    for (const words of [
      ['ban', '192.0.2.9'],
      ['ban', '192.0.2.10'],
      ['unban', '192.0.2.9'],
      ['stop'],
      ['ban', '192.0.2.11'],
    ]) {
      await stage.hypervisor.sh(['/run/lab/fail2ban-server', ...words].join(' '));
      const left = await save(stage);
      await stage.guard.idle();
      expect(await save(stage), words.join(' ')).toBe(left);
      expect(await driftOf(stage), words.join(' ')).toEqual([]);
    }
    expect(await mendwall(stage.hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
  });

  it('lose their rules to a flush: said by owner with the command, in log and status, until they write again', async () => {
    const stage = await upWith('fail2ban-server', FAIL2BAN);
    await stage.run('ban', '192.0.2.9');
    const mark = stage.guard.logMark();
    await stage.hypervisor.sh('iptables -F');
    await stage.guard.idle();
    // The yardstick knows of no neighbour but libvirt, so the user's rules are held against the snapshot.
    expect(await mendwall(stage.hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
    expect(await trafficWithin(stage.hypervisor, 3_000)).toEqual(ALL_TRAFFIC);
    const told = await driftOf(stage);
    expect(told).toMatchObject([{ kind: 'foreign-lost', owner: 'fail2ban', table: 'filter' }]);
    expect(told[0]?.evidence).toContain('fail2ban-client reload');
    expect(stage.guard.logSince(mark).join('\n')).toMatch(/foreign-lost ip filter: fail2ban lost 3 rules/);
    expect(await stage.hypervisor.sh('iptables-save')).not.toContain('-j f2b-sshd');
    const { passes } = await stage.guard.status();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    // No loop over what is not to be repaired: at most a check by the clock.
    expect((await stage.guard.status()).passes - passes).toBeLessThanOrEqual(2);
    await stage.run('reload');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('that insist on the top stay there, and DOCKER-USER’s rules of the user’s survive a wipe and a restart', async () => {
    const stage = await upWith('dockerd', DOCKERD);
    await stage.run();
    await stage.hypervisor.sh('iptables -I DOCKER-USER -s 203.0.113.66/32 -j DROP');
    await stage.guard.idle();
    await mendwall(stage.hypervisor, 'snapshot', '-m', 'a rule in DOCKER-USER', '--yes');
    await stage.guard.idle();
    const top = (await stage.hypervisor.sh('iptables -S FORWARD')).split('\n')[1];
    expect(top).toBe('-A FORWARD -j DOCKER-USER');
    await stage.hypervisor.sh('nft flush ruleset');
    await stage.guard.idle();
    expect(await stage.hypervisor.sh('iptables-save')).not.toContain('DOCKER');
    const kinds = (await driftOf(stage)).map(({ kind, owner }) => `${kind} ${owner}`);
    expect(new Set(kinds)).toEqual(new Set(['waiting user', 'foreign-lost docker']));
    await stage.run();
    expect((await stage.hypervisor.sh('iptables -S DOCKER-USER')).trim().split('\n').slice(1)).toEqual([
      '-A DOCKER-USER -s 203.0.113.66/32 -j DROP',
      '-A DOCKER-USER -j RETURN',
    ]);
    expect(await driftOf(stage)).toEqual([]);
    expect(await mendwall(stage.hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
  });
});
