package analysis

import "testing"

func TestSignificant(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0: "0", 0.00123456: "0.00123", 1.2345: "1.23", 99.96: "100", 999.4: "999",
		999.5: "1000", 1921.7: "1922", -1921.7: "-1922", 1e6: "1000000"} {
		if got := Significant(x); got != want {
			t.Errorf("%g: %s, want %s", x, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 trials", 1: "1 trial", 2: "2 trials"} {
		if got := Count(n, "trial"); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
