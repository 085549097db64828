// Rule files end to end, with the built program, a real libvirtd and real packets: checked, imported, tried, confirmed, rolled
// back; and what becomes of a trial when its terminal, its command, its daemon or the clock does not last.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { installUserRules } from './actors.ts';
import { initGuard, mendwall, startGuard, type GuardProcess } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { ALL_TRAFFIC, trafficWithin } from './probes.ts';
import {
  ALL_STAGES,
  dieAt,
  isOnTrial,
  mendwallWith,
  onTerminal,
  openSession,
  pidOf,
  RULES_DIR,
  rulesNow,
  type SshSession,
  until,
  writeRules,
} from './trials.ts';
import { USER_RULES } from './user-rules.ts';

/** The rules that stand, with one service more. */
const WEB = '-A INPUT -p tcp -m state --state NEW -m tcp --dport 443 -j ACCEPT';
const NEW_RULES = {
  '10-base.v4': USER_RULES.ip.replace('-A INPUT -j ADMIN\n', `${WEB}\n$&`),
  '10-base.v6': USER_RULES.ip6,
};
/** Nobody comes in any more. */
const CLOSED_RULES = {
  ...NEW_RULES,
  '10-base.v4': USER_RULES.ip.replace(/-A INPUT .*state.*\n/g, ''),
};
const TRIAL_MS = 2_000;
const SHORT = ['apply', '--yes', '--confirm-within', `${TRIAL_MS / 1000}s`] as const;

let hypervisor: Hypervisor;
let before: string;

beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'mwz-files' });
  await hypervisor.addGuest();
  await installUserRules(hypervisor);
  await initGuard(hypervisor);
  before = await rulesNow(hypervisor);
});
afterAll(() => hypervisor.down());
beforeEach(async () => {
  // What a failed test left.
  if (await isOnTrial(hypervisor)) await mendwall(hypervisor, 'rollback');
  await writeRules(hypervisor, NEW_RULES);
});

const standsAsBefore = async (): Promise<boolean> => (await rulesNow(hypervisor)) === before;
const hasWeb = async (): Promise<boolean> => (await rulesNow(hypervisor)).includes(WEB);

/** Within the trial and what the rollback takes; then no trial is left, and a further second changes nothing. */
async function expectRolledBack(withinMs = TRIAL_MS + 10_000): Promise<void> {
  await until(async () => !(await isOnTrial(hypervisor)) && (await standsAsBefore()), withinMs, 'rolled back');
  expect(await trafficWithin(hypervisor, 3_000)).toEqual(ALL_TRAFFIC);
}

describe('check and import', () => {
  it('check is content with the rules that stand, and says where a wrong word is', async () => {
    expect(await mendwall(hypervisor, 'check')).toMatchObject({ exitCode: 0, stdout: '' });
    await writeRules(hypervisor, { '10-a.v4': USER_RULES.ip.replace('-j ADMIN', '-j ADMLN') });
    const told = await mendwall(hypervisor, 'check');
    expect(told.exitCode).toBe(2);
    expect(told.stdout).toMatch(/^\/etc\/mendwall\/rules\.d\/10-a\.v4:\d+:\d+: unknown-target: .*ADMIN/m);
    expect(await standsAsBefore()).toBe(true);
  });

  it('a file for IPv4 alone is a warning', async () => {
    await writeRules(hypervisor, { '10-a.v4': USER_RULES.ip });
    expect(await mendwall(hypervisor, 'check')).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('one-family') as string,
    });
  });

  it("a native table under iptables' own name: native chains are right, iptables' own are refused", async () => {
    const native =
      'table ip nat {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;\n\t\ttcp dport 8022 dnat to 192.168.122.10:22\n\t}\n}\n';
    await writeRules(hypervisor, { ...NEW_RULES, '20-nat.nft': native });
    expect(await mendwall(hypervisor, 'check')).toMatchObject({ exitCode: 0, stdout: '' });
    expect((await mendwall(hypervisor, 'apply', '--yes')).exitCode).toBe(0);
    expect(await hypervisor.sh('nft list chain ip nat prerouting')).toContain('dnat to 192.168.122.10:22');
    expect((await mendwall(hypervisor, 'rollback')).exitCode).toBe(0);
    await expectRolledBack(0);
    const own = native.replace(
      '}\n}',
      '}\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat;\n\t}\n}',
    );
    await writeRules(hypervisor, { '20-nat.nft': own });
    expect(await mendwall(hypervisor, 'check')).toMatchObject({
      exitCode: 2,
      stdout: expect.stringMatching(/20-nat\.nft:1:1: iptables-name: .*chain PREROUTING would be iptables'/) as string,
    });
  });

  it('a dump of the live rules is imported without libvirt, and is what stands', async () => {
    await writeRules(hypervisor, {});
    await hypervisor.sh('iptables-save > /root/old.v4; ip6tables-save > /root/old.v6');
    for (const end of ['v4', 'v6']) {
      const told = await mendwall(hypervisor, 'import', `/root/old.${end}`);
      expect(told.exitCode, told.stderr).toBe(0);
      expect(told.stdout).toMatch(/left out, libvirt's: -A FORWARD -j LIBVIRT_FWI/);
    }
    expect(await hypervisor.sh(`cat ${RULES_DIR}/*`)).not.toContain('-j LIBVIRT');
    expect((await mendwall(hypervisor, 'check')).exitCode).toBe(0);
    expect((await mendwall(hypervisor, 'apply', '--yes')).stdout).toContain('unchanged');
    expect(await standsAsBefore()).toBe(true);
  });
});

describe('apply', () => {
  it('a dry run shows the diff and changes nothing; without a yes nothing is changed either', async () => {
    const dry = await mendwall(hypervisor, 'apply', '-n');
    expect(dry).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`+${WEB}`) as string });
    expect((await mendwall(hypervisor, 'apply')).exitCode).toBe(5);
    expect(await standsAsBefore()).toBe(true);
    expect(await isOnTrial(hypervisor)).toBe(false);
  });

  it('a wrong file changes nothing: exit 2 and the place', async () => {
    await writeRules(hypervisor, { '10-base.v4': NEW_RULES['10-base.v4'].replace('--dport 443', '--dprt 443') });
    const told = await mendwall(hypervisor, ...SHORT);
    expect(told).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/10-base\.v4:\d+:\d+: /) as string });
    expect(await standsAsBefore()).toBe(true);
  });

  it('is rolled back when nobody confirms, and `confirm` is then too late', async () => {
    const told = await mendwall(hypervisor, ...SHORT);
    expect(told.exitCode, told.stderr).toBe(0);
    expect(await hasWeb()).toBe(true);
    expect((await mendwall(hypervisor, 'snapshot')).exitCode).toBe(5);
    await expectRolledBack();
    expect((await mendwall(hypervisor, 'confirm')).exitCode).toBe(6);
    expect((await mendwall(hypervisor, 'log', '-n', '3')).stdout).toContain('was not confirmed in time');
  });

  it('`rollback` does not wait', async () => {
    expect((await mendwall(hypervisor, 'apply', '--yes')).exitCode).toBe(0);
    expect((await mendwall(hypervisor, 'rollback')).exitCode).toBe(0);
    await expectRolledBack(0);
    expect(await mendwall(hypervisor, 'rollback')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('unchanged') as string,
    });
  });

  it.each(ALL_STAGES)('killed with its parent, %s: the rules before stand, no trial is left', async (stage) => {
    await dieAt(hypervisor, stage, ...SHORT);
    if (stage === 'after the commit') expect(await hasWeb()).toBe(true);
    await expectRolledBack();
  });
});

describe('on a terminal', () => {
  it('no answer: rolled back, exit 6', async () => {
    const terminal = onTerminal(hypervisor, 'apply --confirm-within 2s');
    await terminal.waitFor(/apply .*\?/);
    terminal.write('y\n');
    await terminal.waitFor(/Keep it\?/, 20_000);
    expect(await hasWeb()).toBe(true);
    expect(await terminal.ended).toEqual({ exitCode: 6 });
    await expectRolledBack();
  });

  it.each(['KILL', 'HUP', 'INT', 'terminal'] as const)('%s while it asks to keep them: rolled back', async (how) => {
    const terminal = onTerminal(hypervisor, 'apply --confirm-within 3s');
    await terminal.waitFor(/apply .*\?/);
    terminal.write('y\n');
    await terminal.waitFor(/Keep it\?/, 20_000);
    if (how === 'terminal') await hypervisor.sh('pkill -KILL -x script');
    else await hypervisor.sh(`kill -${how} ${await pidOf(hypervisor, 'apply')}`);
    await terminal.ended;
    expect(await hasWeb()).toBe(true);
    await expectRolledBack(15_000);
  });

  it('gone before the first yes: nothing was changed', async () => {
    const terminal = onTerminal(hypervisor, 'apply');
    await terminal.waitFor(/apply .*\?/);
    await hypervisor.sh('pkill -KILL -x script');
    await terminal.ended;
    expect(await standsAsBefore()).toBe(true);
    expect(await isOnTrial(hypervisor)).toBe(false);
  });

  it('edit: what is wrong can be edited again, what is kept replaces the file, what is not stays beside it', async () => {
    await writeRules(hypervisor, { '10-base.v4': USER_RULES.ip, '10-base.v6': USER_RULES.ip6 });
    // The first time it makes a typing error, the second time it corrects it.
    const editor = `#!/bin/sh
if grep -q ACCPET "$1"; then sed -i s/ACCPET/ACCEPT/ "$1"; else sed -i 's/^-A INPUT -j ADMIN$/${WEB.replace('ACCEPT', 'ACCPET')}\\n&/' "$1"; fi
`;
    hypervisor.writeFile('/run/lab/editor', editor);
    await hypervisor.sh('chmod +x /run/lab/editor');
    const run = async (keep: 'y' | 'n'): Promise<number> => {
      const terminal = onTerminal(hypervisor, 'edit 10-base.v4', { EDITOR: '/run/lab/editor' });
      await terminal.waitFor(/edit again\?/, 20_000);
      expect(terminal.lines.join('\n')).toMatch(/10-base\.v4:\d+:\d+: unknown-target: .*ACCEPT/);
      terminal.write('y\n');
      await terminal.waitFor(/apply .*\?/, 20_000);
      terminal.write('y\n');
      await terminal.waitFor(/Keep it\?/, 20_000);
      terminal.write(`${keep}\n`);
      return (await terminal.ended).exitCode;
    };
    expect(await run('n')).toBe(6);
    await expectRolledBack(5_000);
    expect(await hypervisor.sh(`cat ${RULES_DIR}/10-base.v4`)).toBe(USER_RULES.ip);
    expect(await hypervisor.sh(`cat ${RULES_DIR}/.edit-*/10-base.v4`)).toContain(WEB);
    expect(await run('y')).toBe(0);
    expect(await hypervisor.sh(`cat ${RULES_DIR}/10-base.v4`)).toContain(WEB);
    expect(await hasWeb()).toBe(true);
    expect((await mendwall(hypervisor, 'restore', 'latest~1', '--yes')).exitCode).toBe(0);
    expect(await standsAsBefore()).toBe(true);
  });
});

describe('the clock', () => {
  /** Sets the clock of every mendwall of this command, its later self included; what counts is the host's uptime. */
  const jump = (ms: number): string =>
    `data:text/javascript,let%20n=Date.now,s=n();Date.now=()=>n()+(n()-s>200%3F${ms}:0)`;

  it.each([-86_400_000, 86_400_000])('%s ms off: neither sooner nor later', async (ms) => {
    const told = await mendwallWith(hypervisor, { NODE_OPTIONS: `--import=${jump(ms)}` }, ...SHORT);
    expect(told.exitCode, told.stderr).toBe(0);
    expect(await hasWeb()).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await hasWeb()).toBe(true);
    await expectRolledBack();
  });
});

describe('the pre-flight', () => {
  let session: SshSession;
  beforeEach(async () => void (session = await openSession(hypervisor)));
  afterEach(() => session.end());

  it('refuses what would cut the session, and names flow and rule; the flow goes on', async () => {
    await writeRules(hypervisor, CLOSED_RULES);
    expect(await session.answers()).toBe(true);
    const told = await mendwallWith(hypervisor, { SSH_CONNECTION: session.connection }, ...SHORT);
    expect(told.exitCode).toBe(5);
    expect(told.stderr).toMatch(/your session from 198\.51\.100\.2: reject by ip filter: -A INPUT -j REJECT/);
    expect(await standsAsBefore()).toBe(true);
    expect(await session.answers()).toBe(true);
  });

  it('knows sessions of others, and the port that sshd listens on', async () => {
    await writeRules(hypervisor, CLOSED_RULES);
    const told = await mendwall(hypervisor, ...SHORT);
    expect(told.exitCode).toBe(5);
    expect(told.stderr).toContain('the ssh session from 198.51.100.2');
    expect(await standsAsBefore()).toBe(true);
  });

  it('with --no-preflight the trial is what saves the session', async () => {
    await writeRules(hypervisor, CLOSED_RULES);
    const env = { SSH_CONNECTION: session.connection };
    expect((await mendwallWith(hypervisor, env, ...SHORT, '--no-preflight')).exitCode).toBe(0);
    expect(await session.answers()).toBe(false);
    await expectRolledBack();
    await until(() => session.answers(), 10_000, 'the session answers');
  });
});

describe('with a daemon', () => {
  let guard: GuardProcess;
  beforeEach(async () => void (guard = await startGuard(hypervisor)));
  afterEach(() => guard.stop());
  /** Without the clock that the command started only the daemon is left. */
  const stopClocks = (): Promise<string> => hypervisor.sh("pkill -KILL -f '^/bin/sh -c .* mendwall-later' || true");

  it('the daemon rolls back by itself', async () => {
    expect((await mendwall(hypervisor, ...SHORT)).exitCode).toBe(0);
    await stopClocks();
    expect(await hasWeb()).toBe(true);
    await expectRolledBack();
    expect(guard.logSince(0).join('\n')).toContain('rolled back');
  });

  it('killed during the trial and started again, it ends the trial in time', async () => {
    expect((await mendwall(hypervisor, 'apply', '--yes', '--confirm-within', '8s')).exitCode).toBe(0);
    await stopClocks();
    await guard.kill();
    guard = await startGuard(hypervisor);
    expect(await hasWeb()).toBe(true);
    await expectRolledBack(20_000);
  });

  it('started after the end, it does not take the rules on trial for the wanted ones', async () => {
    expect((await mendwall(hypervisor, 'apply', '--yes', '--confirm-within', '6s')).exitCode).toBe(0);
    await stopClocks();
    await guard.kill();
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await hasWeb()).toBe(true);
    guard = await startGuard(hypervisor);
    await expectRolledBack(0);
  });

  it('killed, the clock of the command is enough', async () => {
    expect((await mendwall(hypervisor, ...SHORT)).exitCode).toBe(0);
    await guard.kill();
    await expectRolledBack();
    guard = await startGuard(hypervisor);
  });

  it('what is confirmed stays, over a restart of the daemon and of libvirtd', async () => {
    expect((await mendwall(hypervisor, ...SHORT)).exitCode).toBe(0);
    expect((await mendwall(hypervisor, 'confirm')).exitCode).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, TRIAL_MS + 500));
    await guard.kill();
    guard = await startGuard(hypervisor);
    await hypervisor.libvirtd.restart();
    await guard.idle();
    expect(await hasWeb()).toBe(true);
    expect(await mendwall(hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
    expect((await mendwall(hypervisor, 'apply', '--yes')).stdout).toContain('unchanged');
    expect(await trafficWithin(hypervisor, 3_000)).toEqual(ALL_TRAFFIC);
  });
});
