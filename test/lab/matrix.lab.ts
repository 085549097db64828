// The quick neighbours of the matrix, with assertions. `npm run matrix` runs all of them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

import { type Outcome, type Run, runNeighbour } from './coexistence.ts';
import { REPOSITORY } from './namespaces.ts';
import { LAB_NEIGHBOURS } from './neighbours/index.ts';
import type { Step } from './neighbours/types.ts';
import { ALL_TRAFFIC } from './probes.ts';
import { UNPACK_TIMEOUT_MS } from './unpack.ts';

const REQUIRED = readFileSync(join(REPOSITORY, 'test/lab/required.txt'), 'utf8')
  .split('\n')
  .flatMap((line) => /^neighbour (.+)$/.exec(line)?.[1] ?? []); // neighbour fail2ban

describe.each(REQUIRED)('%s beside libvirt and the user’s rules', (name) => {
  const neighbour = LAB_NEIGHBOURS.find((each) => each.name === name);
  let run: Run;
  const after = (step: Step): Outcome => run.outcomes.find((outcome) => outcome.step === step)!;

  beforeAll(async () => {
    if (neighbour === undefined)
      throw new Error(`required.txt names ${name}, which no file of test/lab/neighbours describes`);
    const result = await runNeighbour(neighbour, true);
    if ('obstacle' in result) throw new Error(`CI must have ${name}: ${result.obstacle}`);
    run = result;
  }, UNPACK_TIMEOUT_MS);

  it('takes each of its steps', () => {
    expect(run.outcomes.flatMap(({ step, failed }) => (failed === undefined ? [] : [`${step}: ${failed}`]))).toEqual(
      [],
    );
  });

  it('leaves user and libvirt whole after each step, and guests their traffic', () => {
    for (const { step, user, libvirt, traffic, log } of run.outcomes)
      expect({ user, libvirt, traffic }, `${step}\n${log.join('\n')}`).toEqual({
        user: [],
        libvirt: [],
        traffic: ALL_TRAFFIC,
      });
  });

  it('has rules of its own, and none of them counts as the user’s', () => {
    expect(after('start').own).not.toEqual([]);
    expect(run.outcomes.flatMap(({ step, taken }) => taken.map((rule) => `${step}: ${rule}`))).toEqual([]);
  });

  it('has its own rules again after what its owner is told to do, and no loss is told any more', () => {
    expect(after('recover').own.toSorted()).toEqual(after('reload').own.toSorted());
    expect(after('recover').told.filter((line) => line.startsWith('foreign-lost'))).toEqual([]);
  });
});
