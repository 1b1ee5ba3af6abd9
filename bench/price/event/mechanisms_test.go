package event

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestMechanisms: the mechanisms that are said to have a yardstick are the modes of the
// yardstick.
func TestMechanisms(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../yardstick/eventloop.c")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`names\[MODES\] = \{([^}]*)\}`).FindSubmatch(source)
	if list == nil {
		t.Fatal("the yardstick has no list of modes")
	}
	var modes []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllSubmatch(list[1], -1) {
		modes = append(modes, string(m[1]))
	}
	names := Mechanisms()
	slices.Sort(modes)
	slices.Sort(names)
	if len(modes) == 0 || !slices.Equal(modes, names) {
		t.Errorf("the yardstick has the modes %q; mechanisms with a yardstick are %q", modes, names)
	}
}
