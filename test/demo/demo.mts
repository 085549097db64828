// `npm run demo`: a private host with the real libvirtd, real packets, and the guard. Nothing outside is touched.
//   --no-guard   the same without mendwall: shows what stays broken, and ends with 1
// Exit 0 only if after every step the user's rules stood and all four kinds of the guest's traffic flowed again.

import { installUserRules } from '../lab/actors.ts';
import { monoMs, PROBE_KINDS } from '../lab/agents.ts';
import { upHypervisor, type Hypervisor } from '../lab/host.ts';
import type { LabProcess } from '../lab/place.ts';
import { outages, startProber, traffic, type Outage } from '../lab/probes.ts';
import { rulesOf, userLines } from '../lab/user-rules.ts';
import { mendwall, startGuard } from './guard.ts';
import { bold, dim, green, ms, red, say, sayDifference, sayTable } from './print.ts';
import { difference, userRulesGoneMs, userRulesStand, watchRules, worstMoment, type RulesSeen } from './rules-seen.ts';
import { STEPS, type Step } from './steps.ts';

interface Result {
  readonly step: Step;
  readonly who: string;
  readonly rulesGoneMs: number;
  readonly outages: readonly Outage[];
  readonly rulesBack: boolean;
}

const WITH_GUARD = !process.argv.includes('--no-guard');
/** How long everything may take to be back; without a guard there is nothing to wait for. */
const PATIENCE_MS = WITH_GUARD ? 20_000 : 1_500;
const DIFFERENCE_LINES = 10;

const KIND_NAMES = { dhcp: 'DHCP', dns: 'DNS', natOut: 'NAT out', portForwardIn: 'port forward in' } as const;

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

async function allFlows(hypervisor: Hypervisor): Promise<boolean> {
  return Object.values(await traffic(hypervisor)).every(Boolean);
}

/** Waits until rules and traffic are as before, and have been for a second. */
async function untilBack(hypervisor: Hypervisor, stands: () => boolean): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  let goodSinceMs: number | undefined;
  while (performance.now() < endMs) {
    const good = stands() && (await allFlows(hypervisor));
    goodSinceMs = good ? (goodSinceMs ?? performance.now()) : undefined;
    if (goodSinceMs !== undefined && performance.now() - goodSinceMs > 1_000) return;
    await pause(50);
  }
}

async function runStep(hypervisor: Hypervisor, step: Step, number: number): Promise<Result> {
  say();
  say(`${bold(`${number}. # ${step.command}`)}\n   ${step.story}`);
  const watch = await watchRules(hypervisor);
  const before = watch.seen.at(-1)!;
  const prober = startProber(hypervisor);
  await pause(300);
  const sinceMs = monoMs();
  await step.run(hypervisor);
  const tookMs = monoMs() - sinceMs;
  say(dim(`   the command took ${ms(tookMs)}; waiting until rules and traffic have been back for a second ...`));
  await untilBack(hypervisor, () => userRulesStand(watch.seen.at(-1)!, before));
  const untilMs = monoMs();
  const samples = await prober.stop();
  await watch.stop();
  const result: Result = {
    step,
    who: WITH_GUARD ? await mendwall(hypervisor, 'log', '-n', '1') : '(nobody watched)',
    rulesGoneMs: userRulesGoneMs(watch.seen, before, sinceMs, untilMs),
    outages: outages(samples, sinceMs),
    rulesBack: userRulesStand(watch.seen.at(-1)!, before),
  };
  sayResult(result, before, worstMoment(watch.seen, before, sinceMs));
  return result;
}

function sayResult(result: Result, before: RulesSeen, worst: RulesSeen | undefined): void {
  say(`   who did it:  ${result.who.replaceAll('\n', '\n                ')}`);
  if (worst === undefined) say('   no reading of the rules differed from the one before');
  else {
    const count = (seen: RulesSeen): string => {
      const user = userLines(seen.ip).length + userLines(seen.ip6).length;
      const all = rulesOf(seen.ip).length + rulesOf(seen.ip6).length;
      return `${user} of the user's rules and ${all - user} of libvirt's`;
    };
    say(`   before: ${count(before)}; at the worst moment: ${count(worst)}`);
    sayDifference(difference(before, worst), DIFFERENCE_LINES);
  }
  const gone = result.outages.map((outage) => `${KIND_NAMES[outage.kind]} ${outageText(outage)}`);
  say(`   gone for:  user's rules ${result.rulesBack ? ms(result.rulesGoneMs) : 'still'}, ${gone.join(', ')}`);
  say(isBack(result) ? green('   all is back') : red('   NOT all is back'));
}

function outageText(outage: Outage): string {
  return outage.backAtEnd ? ms(outage.gapMs) : 'still';
}

function isBack(result: Result): boolean {
  return result.rulesBack && result.outages.every((outage) => outage.backAtEnd);
}

function saySummary(results: readonly Result[]): void {
  say();
  const rows = results.map((result) => [
    result.step.command.split('   ')[0] ?? '',
    result.rulesBack ? ms(result.rulesGoneMs) : 'still',
    ...result.outages.map(outageText),
    isBack(result) ? 'yes' : 'NO',
  ]);
  sayTable([
    ['gone for how long', "user's rules", ...PROBE_KINDS.map((kind) => KIND_NAMES[kind]), 'all back'],
    ...rows,
  ]);
  say(
    dim(
      '  Real packets, a new flow each: NAT and port forward every 5 ms, DHCP and DNS every 20 ms, rules every 20 ms.',
    ),
  );
  say(
    dim('  Steps 1 and 2: libvirt itself takes its rules (2: and its bridge) away for that time, guard or no guard.'),
  );
}

async function demonstrate(hypervisor: Hypervisor): Promise<boolean> {
  say('A guest is cabled to virbr0, and an outside host that has no route back to it: NAT must work.');
  await hypervisor.addGuest();
  await installUserRules(hypervisor);
  if (!(await allFlows(hypervisor))) throw new Error('the lab is not sound before the first step');
  say('The user’s rules stand, with a port forward 8022 -> guest:22. DHCP, DNS, NAT and port forward work.');
  const guard = WITH_GUARD ? await startGuard(hypervisor) : undefined;
  say(guard ? 'mendwall has taken its snapshot and runs in merge mode.' : 'No guard runs.');
  const results: Result[] = [];
  for (const [index, step] of STEPS.entries()) {
    results.push(await runStep(hypervisor, step, index + 1));
    // Without a guard the next step starts from a sound host again.
    if (!WITH_GUARD) await installUserRules(hypervisor);
  }
  saySummary(results);
  return results.every(isBack) && (guard === undefined || (await endsSound(hypervisor, guard)));
}

/** At the end the guard's own word must be the same: no difference left, and its stop leaves the rules alone. */
async function endsSound(hypervisor: Hypervisor, guard: LabProcess): Promise<boolean> {
  const left = await mendwall(hypervisor, 'diff');
  say();
  say(left === '' ? 'mendwall diff: nothing' : `mendwall diff:\n${left}`);
  const before = await hypervisor.save();
  await guard.stop();
  const after = await hypervisor.save();
  const untouched = rulesAndPolicies(before) === rulesAndPolicies(after);
  say(untouched ? 'mendwall was stopped: every rule stayed.' : red('Stopping mendwall changed rules!'));
  return untouched;
}

/** Without dates, counters and the guard's own empty sentinel chain, which a clean stop takes away. */
function rulesAndPolicies({ ip, ip6 }: { readonly ip: string; readonly ip6: string }): string {
  const lines = `${ip}${ip6}`.split('\n').filter((line) => !line.startsWith('#') && !/^:mw-[0-9a-f]{8} /.test(line));
  return lines.map((line) => line.replace(/\[\d+:\d+\]/, '')).join('\n');
}

async function main(): Promise<number> {
  say('Bringing up a private host (own network, mounts and processes): dbus, libvirtd, libvirt-dbus, dnsmasq ...');
  const hypervisor = await upHypervisor({ name: 'demo' });
  try {
    return (await demonstrate(hypervisor)) ? 0 : 1;
  } finally {
    await hypervisor.down();
    say('The private host is gone.');
  }
}

process.exitCode = await main();
