package toolchain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where Debian's packages put things, below a prefix.
const (
	loader  = "usr/lib64/ld-linux-x86-64.so.2"
	libs    = "usr/lib/x86_64-linux-gnu"
	driver  = "usr/bin/x86_64-linux-gnu-gcc-14"
	gccExec = "usr/libexec/gcc/x86_64-linux-gnu/14/"
)

// helpers are the programs the driver and collect2 start, by the names they
// look for below -B.
var helpers = []struct{ name, program string }{
	{"cc1", gccExec + "cc1"},
	{"collect2", gccExec + "collect2"},
	{"as", "usr/bin/x86_64-linux-gnu-as"},
	{"ld", "usr/bin/x86_64-linux-gnu-ld.bfd"},
	{"nm", "usr/bin/x86_64-linux-gnu-nm"},
	{"strip", "usr/bin/x86_64-linux-gnu-strip"},
}

// sourceDir is where compiled files say that the prefix lies, in debug
// information and __FILE__.
const sourceDir = "/lab"

// Loader returns the prefix's dynamic loader and the folder of its libraries.
// A program of the prefix, or one built with [CC], runs anywhere as
//
//	ld --library-path libs program argument...
func Loader(prefix string) (ld, libDir string) {
	return filepath.Join(prefix, loader), filepath.Join(prefix, libs)
}

// CC writes the scripts to dir, which is made when needed, and returns the
// path of the one that is the C compiler. Both paths become part of the
// scripts, so prefix and dir must stay where they are. Scripts that are right
// already are left alone; a compiler may be running from them.
func CC(prefix, dir string) (string, error) {
	var err error
	if prefix, err = filepath.Abs(prefix); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	for _, p := range []string{prefix, dir} {
		// The go command splits CC at blanks, the shell expands the others.
		if strings.ContainsAny(p, " \t\n'\"\\$`=") {
			return "", fmt.Errorf("set up the C compiler: the path %q has a blank, quote, backslash, dollar or equals sign: choose another cache folder", p)
		}
	}
	ld, libDir := Loader(prefix)
	need := []string{ld, filepath.Join(prefix, driver)}
	for _, h := range helpers {
		need = append(need, filepath.Join(prefix, h.program))
	}
	for _, p := range need {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("set up the C compiler: %w; the prefix %s lacks the packages gcc-14, binutils or libc6", err, prefix)
		}
	}

	tools := filepath.Join(dir, "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	for _, h := range helpers {
		script := fmt.Sprintf("#!/bin/sh\nexec %s --library-path %s %s \"$@\"\n", ld, libDir, filepath.Join(prefix, h.program))
		if err := writeScript(filepath.Join(tools, h.name), script); err != nil {
			return "", fmt.Errorf("set up the C compiler: %w", err)
		}
	}
	// The variables would let files of the host in (gcc's manual, "Environment
	// Variables Affecting GCC") or load host libraries into the prefix's
	// programs.
	script := fmt.Sprintf(`#!/bin/sh
unset CPATH C_INCLUDE_PATH LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX DEPENDENCIES_OUTPUT LD_LIBRARY_PATH LD_PRELOAD
exec %s --library-path %s %s -B%s/ --sysroot=%s -ffile-prefix-map=%s=%s "$@"
`, ld, libDir, filepath.Join(prefix, driver), tools, prefix, prefix, sourceDir)
	cc := filepath.Join(dir, "cc")
	if err := writeScript(cc, script); err != nil {
		return "", fmt.Errorf("set up the C compiler: %w", err)
	}
	return cc, nil
}

// writeScript puts an executable script in place in one step.
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

// GoEnv returns the environment of a go command that is to compile cgo
// packages with cc, overriding what the user's environment says of C.
func GoEnv(cc string) []string {
	return []string{
		"CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		"CC=" + cc,
		"CGO_CFLAGS=-O2", "CGO_CPPFLAGS=", "CGO_LDFLAGS=", "GOFLAGS=",
	}
}

// GoFlags returns the flags of "go build" that make the result independent of
// where it is built. The build ID goes too: it is made from the compiler's
// path among other things.
func GoFlags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=-buildid="}
}
