import { readFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { REPOSITORY } from './namespaces.ts';
import { upPrivateSystemd, type PrivateSystemd } from './private-systemd.ts';

const UNITS = ['mendwall.service', 'mendwall-mend.path', 'mendwall-mend.service'];
const PATH_UNIT = 'mendwall-mend.path';
const MEND = 'mendwall-mend.service';
const SPOOL = '/run/mendwall/spool';
const HOOK = '/etc/libvirt/hooks/network.d/50-mendwall';
const CALLS = 200;

/** The fastest `mendwall mend` there could be: shows whether the construction holds when nothing slows the starts down. */
const FAST = `#!/bin/sh
[ "$1" = mend ] || exit 2
for file in ${SPOOL}/*; do [ -e "$file" ] && rm -f "$file" && echo mend >>/run/lab/events; done
echo fast >>/run/lab/runs
exit 0
`;
const BROKEN = '#!/nonexistent/node\n';

let systemd: PrivateSystemd;
let standIn: string;

beforeAll(async () => {
  standIn = `#!${process.execPath}\n${await bundledStandIn()}`;
  systemd = await upPrivateSystemd({
    units: UNITS.map((unit) => join(REPOSITORY, 'systemd', unit)),
    programs: { mendwall: standIn, 'mendwall-hook': readFileSync(join(REPOSITORY, 'hooks/mendwall-hook'), 'utf8') },
  });
  await systemd.sh(`mkdir -p ${HOOK.replace(/\/[^/]*$/, '')}; cp /usr/bin/mendwall-hook ${HOOK}`);
});

afterAll(async () => systemd?.down());

async function bundledStandIn(): Promise<string> {
  const result = await build({
    entryPoints: [join(REPOSITORY, 'test/lab/spool-stand-in.ts')],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    logLevel: 'silent',
  });
  return result.outputFiles[0]?.text ?? '';
}

async function setProgram(text: string): Promise<void> {
  await systemd.exec(
    'sh',
    [
      '-c',
      'cat >/usr/bin/mendwall.new && chmod 755 /usr/bin/mendwall.new && mv /usr/bin/mendwall.new /usr/bin/mendwall',
    ],
    {
      input: text,
    },
  );
}

function sharedLines(name: string): string[] {
  const path = join(systemd.shared, name);
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
}

/** Real hook calls, one every 10 ms. */
async function callHooks(): Promise<void> {
  await systemd.sh(
    `i=0; while [ $i -lt ${CALLS} ]; do i=$((i+1)); ${HOOK} net$i started begin - </dev/null; sleep 0.007; done`,
  );
}

/** Waits until no run has ended or begun for 1.5 s: a spin never gets there. Throws after 40 s. */
async function untilQuiet(): Promise<void> {
  const untilMs = performance.now() + 40_000;
  for (let last = -1, sinceMs = 0; performance.now() < untilMs;) {
    const starts = await startsOfMend();
    if (starts !== last) [last, sinceMs] = [starts, performance.now()];
    else if (performance.now() - sinceMs > 1_500 && (await systemd.show(MEND, 'ActiveState')) !== 'activating') return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`the one-shot is still being started: ${await startsOfMend()} times`);
}

async function startsOfMend(): Promise<number> {
  return (await systemd.journal())
    .split('\n')
    .filter((line) => line.includes('systemd[1]: Starting mendwall-mend.service')).length;
}

async function filesIn(folder: string): Promise<number> {
  return Number((await systemd.sh(`ls ${folder} 2>/dev/null | wc -l`)).trim());
}

async function expectPathStillWaits(): Promise<void> {
  expect(await systemd.show(PATH_UNIT, 'ActiveState')).toBe('active');
  expect(await systemd.show(PATH_UNIT, 'SubState')).toBe('waiting');
  expect(await systemd.journal()).not.toMatch(/start-limit|trigger-limit|request repeated too quickly/i);
}

describe('the units', () => {
  it('are clean for systemd-analyze verify, with mendwall installed', async () => {
    const result = await systemd.exec('sh', [
      '-c',
      `systemd-analyze verify ${UNITS.map((unit) => `/etc/systemd/system/${unit}`).join(' ')}`,
    ]);
    expect(result.stdout + result.stderr).toBe('');
    expect(result.exitCode).toBe(0);
  });

  it('are hardened: systemd-analyze security gives an exposure below 3', async () => {
    for (const unit of ['mendwall.service', MEND]) {
      const said = await systemd.sh(
        `systemd-analyze security --offline=yes --no-pager /etc/systemd/system/${unit} | tail -1`,
      );
      const level = Number(/: ([\d.]+) /.exec(said)?.[1]); // → Overall exposure level for mendwall.service: 2.5 OK
      process.stdout.write(`systemd-analyze security: ${said.trim()}\n`);
      expect(level).toBeLessThan(3);
    }
  });

  it('let iptables of both engines, nft and their monitor work in the sandbox of the daemon', async () => {
    const commands = [
      'iptables-nft -A FORWARD -s 192.0.2.1 -m conntrack --ctstate NEW -m comment --comment mendwall -j ACCEPT',
      'iptables-nft-save | iptables-nft-restore --test',
      'ip6tables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE',
      'nft list ruleset >/dev/null',
      'timeout 0.3 nft monitor >/dev/null || test $? = 124',
      'iptables-legacy -w 5 -t mangle -A FORWARD -p tcp -j TCPMSS --set-mss 1200 --tcp-flags SYN,RST SYN',
      'iptables-legacy-save -t mangle | grep -q TCPMSS',
      'touch /var/lib/mendwall/x /run/mendwall/x',
      'if touch /etc/x 2>/dev/null; then exit 3; fi',
    ];
    await systemd.sh(`sed 's|^ExecStart=.*|ExecStart=/bin/sh -ec "/run/lab/commands"|; s|^Type=.*|Type=oneshot|; /^WatchdogSec/d; /^Restart/d' \
      /etc/systemd/system/mendwall.service >/etc/systemd/system/sandbox.service
      printf '%s\\n' '#!/bin/sh -ex' ${commands.map((command) => `'${command}'`).join(' ')} >/run/lab/commands; chmod 755 /run/lab/commands; systemctl daemon-reload`);
    const result = await systemd.exec('systemctl', ['start', 'sandbox.service']);
    expect(result.exitCode, await systemd.journal('sandbox.service')).toBe(0);
  });
});

describe('the sandbox with mendwall-netns.conf', () => {
  it('lets the daemon into a network namespace, which the unit alone does not', async () => {
    const unit = '/etc/systemd/system/enter.service';
    const enter = 'nsenter --net=/run/netns/sandboxed -- iptables-save';
    await systemd.sh(`sed 's|^ExecStart=.*|ExecStart=/bin/sh -ec "${enter}"|; s|^Type=.*|Type=oneshot|; /^WatchdogSec/d; /^Restart/d' \
      /etc/systemd/system/mendwall.service >${unit}; ip netns add sandboxed; ${enter}; systemctl daemon-reload`);
    expect((await systemd.exec('systemctl', ['start', 'enter.service'])).exitCode).not.toBe(0);
    const input = readFileSync(join(REPOSITORY, 'systemd/mendwall-netns.conf'), 'utf8');
    await systemd.exec('sh', ['-ec', `mkdir ${unit}.d; cat >${unit}.d/netns.conf; systemctl daemon-reload`], { input });
    const result = await systemd.exec('systemctl', ['start', 'enter.service']);
    expect(result.exitCode, await systemd.journal('enter.service')).toBe(0);
    await systemd.sh('ip netns del sandboxed');
  });
});

describe('the daemon', () => {
  it('is started by its notification, reloaded by SIGHUP, and its stop leaves the spool', async () => {
    await systemd.sh('systemctl start mendwall.service');
    expect(await systemd.show('mendwall.service', 'ActiveState')).toBe('active');
    await systemd.sh('systemctl reload mendwall.service; systemctl stop mendwall.service');
    expect(sharedLines('events')).toContain('daemon reloaded');
    expect(await systemd.show('mendwall.service', 'Result')).toBe('success');
    await systemd.sh(
      `test -d ${SPOOL}; test "$(stat -c '%a %u' ${SPOOL})" = '750 0'; test "$(stat -c %a /run/mendwall)" = 750`,
    );
  });

  it('reads at its start what hooks left while it was stopped', async () => {
    await systemd.sh(`${HOOK} while-stopped started begin -; systemctl start mendwall.service`);
    expect(sharedLines('events')).toContain('daemon network while-stopped');
    await systemd.sh('systemctl stop mendwall.service');
  });
});

describe(`${CALLS} hook calls in 2 s`, () => {
  beforeEach(async () => {
    await systemd.sh(`systemctl stop ${PATH_UNIT} mendwall.service ${MEND}; journalctl -q --rotate; journalctl -q --vacuum-time=1ms
      rm -rf ${SPOOL} ${SPOOL}-held ${SPOOL}-bad`);
    for (const name of ['events', 'runs']) rmSync(join(systemd.shared, name), { force: true });
    await setProgram(standIn);
    await systemd.sh(`systemctl start ${PATH_UNIT}`);
  });

  const report = async (what: string): Promise<void> =>
    void process.stdout.write(
      `${CALLS} hook calls, ${what}: ${await startsOfMend()} starts of the one-shot, ${sharedLines('events').length} events\n`,
    );

  it('are all mended for when no daemon runs', async () => {
    await callHooks();
    await untilQuiet();
    await report('no daemon');
    expect(new Set(sharedLines('events')).size).toBe(CALLS);
    expect(await filesIn(SPOOL)).toBe(0);
    expect(await systemd.show(MEND, 'Result')).toBe('success');
    await expectPathStillWaits();
  });

  it('are all taken by a running daemon, and the one-shot takes none', async () => {
    await systemd.sh('systemctl start mendwall.service');
    await callHooks();
    await untilQuiet();
    await report('daemon up');
    expect(sharedLines('events').filter((line) => line.startsWith('daemon')).length).toBe(CALLS);
    // A slow daemon may find a file set aside by the one-shot (`held`), which then starts no second one; it takes that, too.
    expect(sharedLines('runs').filter((line) => !line.startsWith('{"kind":"left-to-daemon"'))).toEqual([]);
    expect(sharedLines('events').filter((line) => line.startsWith('mend'))).toEqual([]);
    await expectPathStillWaits();
  });

  it('wait for a daemon that is stopped by SIGSTOP, without a spin, and reach it when it goes on', async () => {
    await systemd.sh('systemctl start mendwall.service; systemctl kill -s STOP mendwall.service');
    await callHooks();
    await untilQuiet();
    await report('daemon stopped by SIGSTOP');
    expect(sharedLines('events')).toEqual([]);
    expect(await filesIn(SPOOL)).toBe(0);
    expect(await filesIn(`${SPOOL}-held`)).toBe(CALLS);
    await expectPathStillWaits();
    await systemd.sh('systemctl kill -s CONT mendwall.service; sleep 6');
    expect(new Set(sharedLines('events')).size).toBe(CALLS);
    expect(await filesIn(`${SPOOL}-held`)).toBe(0);
  });

  it('are mended for when the daemon ends in the middle of them', async () => {
    await systemd.sh('systemctl start mendwall.service');
    const calls = callHooks();
    await new Promise((resolve) => setTimeout(resolve, 800));
    await systemd.sh('systemctl stop mendwall.service');
    await calls;
    await untilQuiet();
    await report('daemon ended meanwhile');
    expect(new Set(sharedLines('events').map((line) => line.split(' ')[2])).size).toBe(CALLS);
    await expectPathStillWaits();
  });

  it('do not reach the start limit of systemd with the fastest one-shot there could be', async () => {
    await setProgram(FAST);
    await callHooks();
    await untilQuiet();
    await report('no daemon, a shell script as the one-shot');
    expect(sharedLines('events').length).toBe(CALLS);
    await expectPathStillWaits();
  });

  it('would spin with a one-shot that leaves its file: this bench can see what the others rule out', async () => {
    await setProgram('#!/bin/sh\nexit 0\n');
    await systemd.sh(`${HOOK} one started begin -`);
    await systemd.sh('sleep 2');
    const early = await startsOfMend();
    await systemd.sh('sleep 2');
    await report('1 call only, a one-shot that removes nothing, 4 s');
    expect((await startsOfMend()) - early).toBeGreaterThan(5);
  });

  it('are not needed to tell: a hidden file in the spool starts nothing', async () => {
    await systemd.sh(`touch ${SPOOL}/.half-written; sleep 1`);
    expect(await startsOfMend()).toBe(0);
  });

  it('do not make a spin when mendwall cannot be started, and are read by the next run that can', async () => {
    await setProgram(BROKEN);
    await callHooks();
    await untilQuiet();
    await report('mendwall cannot be started');
    expect(await filesIn(SPOOL)).toBe(0);
    expect(await filesIn(`${SPOOL}-held`)).toBe(CALLS);
    await expectPathStillWaits();
    await setProgram(standIn);
    await systemd.sh(`${HOOK} last started begin -`);
    await untilQuiet();
    expect(new Set(sharedLines('events')).size).toBe(CALLS + 1);
  });
});
