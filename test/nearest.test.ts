import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance, nearestWord } from '../src/nearest.ts';

describe('the nearest word', () => {
  it('is found for a swapped, a missing and a wrong letter', () => {
    const words = ['status', 'snapshot', 'restore', 'resume'];
    expect(nearestWord('stauts', words)).toBe('status');
    expect(nearestWord('snapsot', words)).toBe('snapshot');
    expect(nearestWord('resune', words)).toBe('resume');
  });

  it('is none when nothing is near', () => {
    expect(nearestWord('foo', ['status', 'diff'])).toBeUndefined();
    expect(didYouMean('foo', ['status'])).toBe('');
  });

  it('counts edits, a swap as one', () => {
    expect([
      editDistance('', 'abc'),
      editDistance('abc', 'abc'),
      editDistance('ab', 'ba'),
      editDistance('kitten', 'sitting'),
    ]).toEqual([3, 0, 1, 3]);
  });
});
