package dom0

import "testing"

func TestSuperpages(t *testing.T) {
	for line, want := range map[string]bool{
		"":                                true,
		"altp2m=1 hap_1gb=0":              true,
		"altp2m=1 hap_1gb=0 hap_2mb=0":    false,
		"hap_2mb=off noreboot":            false,
		"no-hap_2mb":                      false,
		"hap_2mb=0 altp2m hap_2mb=1":      true,
		"hap_2mb":                         true,
		"placeholder nohap_2mb hap_2mb=1": true,
	} {
		if got := Superpages(line); got != want {
			t.Errorf("%q: superpages %v, want %v", line, got, want)
		}
	}
}
