package bochs

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed shim/shim.c
var shimSource []byte

// BuildShim compiles the library that is preloaded into the emulator, with the C
// compiler cc, and returns its path in dir. It makes dir if needed. A library that
// was built there from the same source is used again, so dir should belong to the
// compiler's prefix. The C library of cc must not be newer than the emulator's: use
// the prefix's compiler.
func BuildShim(ctx context.Context, cc, dir string) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("shim-%.8x.so", sha256.Sum256(shimSource)))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	// Under another name first: other processes may build it at the same time.
	tmp, err := os.MkdirTemp(dir, ".shim-")
	if err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "shim.so")
	cmd := exec.CommandContext(ctx, cc, "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-x", "c", "-o", out, "-")
	cmd.Stdin = bytes.NewReader(shimSource)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the emulator's preload library with %s: %w\n%s", cc, err, bytes.TrimSpace(output))
	}
	if err := os.Rename(out, path); err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	return path, nil
}
