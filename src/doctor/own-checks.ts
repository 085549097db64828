// mendwall itself: snapshot, daemon, mode, and what waits for the admin. Pure.

import { shadowedIn } from '../merge/shadowed.ts';
import { describeDrift, type Drift, type DriftKind } from '../merge/drift.ts';
import { tablesOf } from './chains.ts';
import { type Check, fail, type Finding, GUARD, judged, MEND, pass, skip, warn } from './types.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

export const configuration: Check = {
  id: 'configuration',
  judge: ({ config }) => judged(config, '', (path) => [pass(path)]),
};

export const snapshot: Check = {
  id: 'snapshot',
  judge: ({ own }) =>
    judged(own, '', ({ snapshot: latest, damaged }) => {
      if (latest === undefined && damaged.length === 0)
        return [warn('there is none: mendwall does not know which rules are yours', 'mendwall init')];
      if (latest === undefined)
        return [
          fail(`none is whole: ${damaged.map(({ id, reason }) => `${id}: ${reason}`).join('; ')}`, 'mendwall init'),
        ];
      const found = damaged.map(({ id, reason }) =>
        warn(`${id}, taken later than ${latest.id}, is damaged: ${reason}`, 'mendwall snapshot'),
      );
      return found.length > 0 ? found : [pass(`${latest.id} of ${latest.at}`)];
    }),
};

export const daemon: Check = {
  id: 'daemon',
  judge: ({ daemon: state }) => {
    switch (state) {
      case 'running':
        return [pass('it runs and answers')];
      case 'absent':
        return [warn('it does not run: nobody hears changes', 'systemctl enable --now mendwall')];
      case 'silent':
        return [fail('it listens and does not answer', 'systemctl restart mendwall')];
      case 'forbidden':
        return [skip('only root may ask it')];
    }
  },
};

/** A daemon knows its own mode; without one the configuration says what it would be. */
export const mode: Check = {
  id: 'mode',
  judge: ({ mode: now, config, daemon: state }) => {
    if (state !== 'running' && config.kind === 'unread') return [skip(config.why)];
    return now === 'merge' ? [pass('merge')] : [warn('observe: mendwall only looks, nothing is put right', GUARD)];
  },
};

export const paused: Check = {
  id: 'paused',
  judge: ({ own }) =>
    judged(own, 'not paused', ({ pausedUntil }) =>
      pausedUntil === undefined ? [] : [warn(`paused until ${pausedUntil}: nothing is put right`, 'mendwall resume')],
    ),
};

export const trial: Check = {
  id: 'trial',
  judge: ({ own }) =>
    judged(own, 'no rules are on trial', ({ trial: open }) =>
      open === undefined
        ? []
        : [
            warn(
              `${open.what} is on trial and goes in ${Math.ceil(open.leftMs / 1000)} s unless it is confirmed`,
              'mendwall confirm',
            ),
          ],
    ),
};

/** A reboot ends what is pending, so what is meant to stay should not stay pending. */
export const pendingOld: Check = {
  id: 'pending-old',
  judge: ({ own, drift, nowMs }) =>
    judged(own, '', ({ pendingSince }) =>
      judged(drift, 'nothing is pending for longer than a day', (all) => {
        const pending = all.filter(({ kind }) => kind === 'pending' || kind === 'policy');
        const sinceMs = pendingSince === undefined ? nowMs : Date.parse(pendingSince);
        const [first] = pending;
        if (first === undefined || nowMs - sinceMs < DAY_MS) return [];
        const more = pending.length === 1 ? '' : ` and ${pending.length - 1} more`;
        const since = `pending since ${pendingSince ?? ''}, and gone at the next boot`;
        return [warn(`${since}: ${describeDrift(first)}${more}`, 'mendwall snapshot')];
      }),
    ),
};

/** A rule of yours that an earlier verdict hides. */
export const shadowed: Check = {
  id: 'shadowed',
  judge: ({ rules }) =>
    judged(rules, 'no rule of yours is hidden by a neighbour’s', ({ families, networks }) =>
      tablesOf(families)
        .flatMap(({ family, table }) => shadowedIn(family, table, networks))
        .map((drift) => warn(describeDrift(drift), 'mendwall init --place above --force')),
    ),
};

/** Rules of yours that iptables or nft cannot load now. */
export const waiting: Check = {
  id: 'waiting',
  judge: ({ drift }) =>
    judged(drift, 'no rule of yours waits', (all) =>
      ofKinds(all, ['waiting']).map((each) => warn(describeDrift(each), MEND)),
    ),
};

const REMEDIES: Partial<Readonly<Record<DriftKind, string>>> = {
  displaced: MEND,
  lost: MEND,
  replaced: 'mendwall accept   # or: mendwall restore latest',
  contended: 'mendwall log -n 20',
};

/** Your rules stand as the snapshot has them. What is pending is no fault. */
export const yourRules: Check = {
  id: 'your-rules',
  judge: ({ drift }) =>
    judged(drift, 'they stand as the snapshot has them', (all): Finding[] =>
      ofKinds(all, Object.keys(REMEDIES) as DriftKind[]).map((each) =>
        fail(describeDrift(each), REMEDIES[each.kind] ?? MEND),
      ),
    ),
};

const ofKinds = (all: readonly Drift[], kinds: readonly DriftKind[]): Drift[] =>
  all.filter(({ kind }) => kinds.includes(kind));
