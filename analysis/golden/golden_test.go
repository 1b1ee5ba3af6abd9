package golden

import "testing"

func TestDifference(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ got, want, says string }{
		{"a\nb", "a\nb", "none"},
		{"a\nc", "a\nb", "line 2 is\nc\nwant\nb"},
		{"a", "a\nb", "line 2 is missing:\nb"},
		{"a\nb\n", "a\nb", "line 3 should not be there:\n"},
	} {
		if got := difference(tc.got, tc.want); got != tc.says {
			t.Errorf("%q against %q: %q, want %q", tc.got, tc.want, got, tc.says)
		}
	}
}
