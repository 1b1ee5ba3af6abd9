package suites

import (
	"strings"
	"testing"
)

func TestBaselines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		want string
		err  string
	}{
		{"", "", ""},
		{"baselines: true\n", "default", ""},
		{"baselines: false\n", "", ""},
		{"baselines: default\n", "default", ""},
		{"baselines: minimum\n", "minimum", ""},
		{"baselines: xen\n", "xen", ""},
		{"baselines: minimal\n", "",
			`x.yaml:9: baselines "minimal" is unknown (did you mean "minimum"?): valid are default, minimum, xen`},
		{"baselines: \"true\"\n", "", `x.yaml:9: baselines "true" is unknown`},
		{"baselines: 1\n", "", "x.yaml:9: baselines is the number 1: write a word"},
		{"baselines: []\n", "", "x.yaml:9: baselines is a list: write a word"},
		{"baselines:\n", "", "x.yaml:9: baselines is empty: write a word"},
		{"baseline: true\n", "", `x.yaml:9: the suite has no key "baseline" (did you mean "baselines"?)`},
	} {
		s, err := Parse("x.yaml", []byte(minimal+tc.line), vocabulary)
		switch {
		case tc.err != "":
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: error %v, want %q", tc.line, err, tc.err)
			}
		case err != nil:
			t.Errorf("%q: %v", tc.line, err)
		case s.Baselines != tc.want:
			t.Errorf("%q: %q, want %q", tc.line, s.Baselines, tc.want)
		}
	}
}
