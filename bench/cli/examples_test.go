package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestCIExamples: the workflow files are YAML, call commands and make targets that
// there are, with flags that they have, and run both sides of the comparison alike.
func TestCIExamples(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	env, _, _ := testEnv()
	_, root := newApp(env, nil)
	dir := filepath.Join("..", "..", ".ci", "examples")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files of two services and two kinds of project: %v", len(files), err)
	}
	xen := regexp.MustCompile(`--xen file:\S+`)
	for _, file := range files {
		name := file.Name()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil || len(doc) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		calls := regexp.MustCompile(`bin/hangbench (\w+)(.*)`).FindAllStringSubmatch(string(text), -1)
		var used, runs []string
		for _, call := range calls {
			used = append(used, call[1])
			if !slices.Contains(commandNames(root), call[1]) {
				t.Errorf("%s calls hangbench %s, which is no command", name, call[1])
				continue
			}
			_, help, _ := hangbench(t, call[1], "--help")
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(call[2], -1) {
				if !strings.Contains(help, flag+" ") {
					t.Errorf("%s gives hangbench %s the flag %s, which it does not have", name, call[1], flag)
				}
			}
			if call[1] == "run" {
				if strings.HasPrefix(name, "xen-") != xen.MatchString(call[2]) {
					t.Errorf("%s runs %s", name, call[2])
				}
				same := xen.ReplaceAllString(call[2], "")
				runs = append(runs, strings.NewReplacer("old", "X", "new", "X").Replace(same))
			}
		}
		for _, want := range []string{"run", "compare", "export"} {
			if !slices.Contains(used, want) && (want != "export" || !strings.HasPrefix(name, "xen-")) {
				t.Errorf("%s does not call hangbench %s", name, want)
			}
		}
		if len(runs) != 2 || runs[0] != runs[1] {
			t.Errorf("%s runs %q: old and new differ", name, runs)
		}
		for _, target := range regexp.MustCompile(`make (?:-C \w+ )?(\w+)`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(string(makefile), "\n"+target[1]+":") {
				t.Errorf("%s makes %s, which the Makefile cannot", name, target[1])
			}
		}
	}
}
