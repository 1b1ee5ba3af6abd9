package toolchain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hangbench/guests/lab/debian"
)

// Paths of Debian's packages below a prefix.
const (
	loader = "usr/lib64/ld-linux-x86-64.so.2"
	libs   = "usr/lib/x86_64-linux-gnu"
)

// helper is a program that the driver or collect2 starts, with the name that these look
// for in the folder of option -B.
type helper struct{ name, program string }

func helpers(p debian.Platform) []helper {
	return []helper{
		{"cc1", p.GCCDir + "/cc1"},
		{"collect2", p.GCCDir + "/collect2"},
		{"as", "usr/bin/x86_64-linux-gnu-as"},
		{"ld", "usr/bin/x86_64-linux-gnu-ld.bfd"},
		{"nm", "usr/bin/x86_64-linux-gnu-nm"},
		{"strip", "usr/bin/x86_64-linux-gnu-strip"},
	}
}

// sourceDir replaces the prefix's path in debug information and in __FILE__.
const sourceDir = "/lab"

// Loader returns the paths of the prefix's dynamic loader and of the folder of its
// libraries. A program of the prefix, or one built with [CC], runs on any host as
//
//	ld --library-path libs program argument...
func Loader(prefix string) (ld, libDir string) {
	return filepath.Join(prefix, loader), filepath.Join(prefix, libs)
}

// CC writes the scripts for the compiler of a platform to dir, which it makes if needed,
// and returns the path of the C compiler's script. Both paths are in the scripts, so prefix and dir must not be
// moved. Scripts that have the right text are not written again: a compiler may be
// running from them.
func CC(p debian.Platform, prefix, dir string) (string, error) {
	var err error
	if prefix, err = filepath.Abs(prefix); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	for _, path := range []string{prefix, dir} {
		// The go command splits CC at blanks; the shell expands the other characters.
		if strings.ContainsAny(path, " \t\n'\"\\$`=") {
			return "", fmt.Errorf("set up the C compiler: the path %q has a blank, quote, backslash, dollar or "+
				"equals sign: choose another cache folder", path)
		}
	}
	ld, libDir := Loader(prefix)
	need := []string{ld, filepath.Join(prefix, p.CompilerDriver())}
	for _, h := range helpers(p) {
		need = append(need, filepath.Join(prefix, h.program))
	}
	for _, path := range need {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("set up the C compiler: %w; the prefix %s lacks the packages %s, binutils or "+
				"libc6", err, prefix, p.Compiler())
		}
	}

	tools := filepath.Join(dir, "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	for _, h := range helpers(p) {
		program := filepath.Join(prefix, h.program)
		script := fmt.Sprintf("#!/bin/sh\nexec %s --library-path %s %s \"$@\"\n", ld, libDir, program)
		if err := writeScript(filepath.Join(tools, h.name), script); err != nil {
			return "", fmt.Errorf("set up the C compiler: %w", err)
		}
	}
	// These variables would add files of the host (gcc's manual, "Environment Variables
	// Affecting GCC"), or load libraries of the host into the prefix's programs.
	script := fmt.Sprintf(`#!/bin/sh
unset CPATH C_INCLUDE_PATH LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX DEPENDENCIES_OUTPUT LD_LIBRARY_PATH LD_PRELOAD
exec %s --library-path %s %s -B%s/ --sysroot=%s -ffile-prefix-map=%s=%s "$@"
`, ld, libDir, filepath.Join(prefix, p.CompilerDriver()), tools, prefix, prefix, sourceDir)
	cc := filepath.Join(dir, "cc")
	if err := writeScript(cc, script); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	return cc, nil
}

// writeScript writes an executable script under another name and renames it.
func writeScript(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".script-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.WriteString(text); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Chmod(0o755); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// GoEnv returns the environment variables with which a go command compiles cgo
// packages with cc. They replace the user's settings for C.
func GoEnv(cc string) []string {
	return []string{
		"CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		"CC=" + cc,
		"CGO_CFLAGS=-O2", "CGO_CPPFLAGS=", "CGO_LDFLAGS=", "GOFLAGS=",
	}
}

// GoFlags returns the flags of "go build" that make the result small, and independent
// of the folder of the build. They remove the build ID, which depends on the compiler's
// path, and the symbol tables: no debugger runs in dom0, and stack traces do not need
// them.
func GoFlags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}
}
