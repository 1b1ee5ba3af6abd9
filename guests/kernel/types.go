package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

// ErrNotFound is wrapped by lookups of a structure, field or constant that the
// kernel does not have, or that was not asked for when a profile was made.
// Kernels differ: task_struct.state became __state in 5.14.
var ErrNotFound = errors.New("not found")

// ErrNoBTF reports that an image does not describe its types.
var ErrNoBTF = errors.New("no BTF in the image; the kernel needs CONFIG_DEBUG_INFO_BTF=y")

const (
	// maxDepth bounds how deep anonymous members may nest.
	maxDepth = 32
	// maxMembers bounds the members that one look-up visits. The largest structures of
	// kernels have some hundred, with those of their anonymous members.
	maxMembers = 1 << 16
	// maxSame bounds the types that have one name. Kernels have up to ten.
	maxSame = 64
	// maxBTF bounds the size of BTF in bytes. Kernels of distributions have 4 to 8 MB.
	maxBTF = 32 << 20
)

// A Field is the place of a structure's field.
type Field struct {
	// Offset is the distance from the start of the structure, in bytes.
	Offset uint32 `json:"offset"`
	// Size is that of the field in bytes, the whole array for an array; for a
	// bit field the bytes that hold all its bits.
	Size uint32 `json:"size"`
	// BitSize is the width of a bit field, 0 for any other field. Its value is
	// in the bits from BitOffset (0 to 7) on of the Size bytes at Offset, taken
	// as a little-endian number.
	BitOffset uint32 `json:"bit_offset,omitempty"`
	BitSize   uint32 `json:"bit_size,omitempty"`
}

// Types knows a kernel's structures from its BTF (the compact type description
// that every distribution's kernel carries). It may be used by any number of
// goroutines.
type Types struct {
	spec *btf.Spec // nil for a kernel without BTF, which has no types

	once     sync.Once
	enums    map[string]int64
	conflict map[string]bool
	enumErr  error
}

func parseTypes(blob []byte) (*Types, error) {
	if len(blob) > maxBTF {
		return nil, fmt.Errorf("parse BTF: it has %d bytes, more than the limit of %d", len(blob), maxBTF)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(blob))
	if err != nil {
		return nil, fmt.Errorf("parse BTF: %w", err)
	}
	return &Types{spec: spec}, nil
}

// types finds the BTF blob by its section header, or by the symbols at its two
// ends when there are none.
func (img *image) types(symbols *Symbols) (*Types, error) {
	if img.file != nil {
		if s := img.file.Section(".BTF"); s != nil {
			blob, err := io.ReadAll(s.Open())
			if err != nil {
				return nil, fmt.Errorf("read .BTF section: %w", err)
			}
			return parseTypes(blob)
		}
	}
	start, ok := symbols.Lookup("__start_BTF")
	stop, ok2 := symbols.Lookup("__stop_BTF")
	if ok && ok2 {
		blob, ok := img.between(start.Addr, stop.Addr)
		if !ok {
			return nil, fmt.Errorf("BTF, from %#x to %#x, is not in the image", start.Addr, stop.Addr)
		}
		return parseTypes(blob)
	}
	if _, ok := symbols.Lookup("linux_banner"); !ok {
		return &Types{}, fmt.Errorf("%w; its symbols are functions only, so CONFIG_KALLSYMS_ALL=y may be missing instead",
			ErrNoBTF)
	}
	return &Types{}, ErrNoBTF
}

// Field returns the place of a field of a structure or union, which may be
// named by a typedef. The path steps into embedded structures with dots, and
// into arrays with a constant index, as C does: "se.vruntime", "rlim[3].rlim_cur".
// It searches anonymous members too. It does not follow pointers.
func (t *Types) Field(structName, path string) (Field, error) {
	fail := func(err error) (Field, error) {
		return Field{}, fmt.Errorf("field %s.%s: %w", structName, path, err)
	}
	candidates, err := t.named(structName)
	if err != nil {
		return fail(err)
	}
	// In C, unrelated structures in different files may have one name. That matters
	// only if more than one of them has the field.
	var found Field
	var n int
	missing := ErrNotFound
	for _, c := range candidates {
		f, err := resolve(c, path)
		switch {
		case err != nil:
			missing = err
		case n > 0 && f != found:
			return fail(errors.New("several structures of this name have it at different places"))
		default:
			found = f
			n++
		}
	}
	if n == 0 {
		return fail(missing)
	}
	return found, nil
}

// SizeOf returns the size in bytes of a structure, union, enumeration, integer
// type or typedef.
func (t *Types) SizeOf(name string) (uint32, error) {
	candidates, err := t.named(name)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", name, err)
	}
	size := -1
	for _, c := range candidates {
		n, err := btf.Sizeof(c)
		if err != nil {
			return 0, fmt.Errorf("size of %s: %w", name, err)
		}
		if size >= 0 && n != size {
			return 0, fmt.Errorf("size of %s: several types of this name differ in size", name)
		}
		size = n
	}
	return uint32(size), nil
}

// EnumValue returns the value of an enumeration constant by its name, for example
// NR_FREE_PAGES, or by those of its enumeration and its own: "zone_stat_item.NR_FREE_PAGES".
// The latter tells whether the kernel has it in that enumeration.
func (t *Types) EnumValue(name string) (int64, error) {
	t.once.Do(t.indexEnums)
	if t.enumErr != nil {
		return 0, fmt.Errorf("constant %s: %w", name, t.enumErr)
	}
	if t.conflict[name] {
		return 0, fmt.Errorf("constant %s: enumerations of this kernel disagree about its value", name)
	}
	v, ok := t.enums[name]
	if !ok {
		return 0, fmt.Errorf("constant %s: %w", name, ErrNotFound)
	}
	return v, nil
}

// indexEnums collects all constants: BTF has no index for them.
func (t *Types) indexEnums() {
	t.enums, t.conflict = make(map[string]int64), make(map[string]bool)
	if t.spec == nil {
		return
	}
	for typ, err := range t.spec.All() {
		if err != nil {
			t.enumErr = err
			return
		}
		enum, ok := typ.(*btf.Enum)
		if !ok {
			continue
		}
		for _, v := range enum.Values {
			t.addEnum(v.Name, int64(v.Value))
			if enum.Name != "" {
				t.addEnum(enum.Name+"."+v.Name, int64(v.Value))
			}
		}
	}
}

// addEnum adds a constant to the index.
func (t *Types) addEnum(name string, value int64) {
	if old, seen := t.enums[name]; seen && old != value {
		t.conflict[name] = true
	}
	t.enums[name] = value
}

// named returns the types with a name that occupy memory.
func (t *Types) named(name string) ([]btf.Type, error) {
	if t.spec == nil {
		return nil, fmt.Errorf("type %s %w", name, ErrNotFound)
	}
	all, err := t.spec.AnyTypesByName(name)
	if err != nil && !errors.Is(err, btf.ErrNotFound) {
		return nil, err
	}
	var sized []btf.Type
	for _, typ := range all {
		switch u := btf.UnderlyingType(typ).(type) {
		case *btf.Struct, *btf.Union, *btf.Int, *btf.Enum, *btf.Pointer, *btf.Array:
			sized = append(sized, u)
		}
	}
	switch {
	case len(sized) == 0:
		return nil, fmt.Errorf("type %s %w", name, ErrNotFound)
	case len(sized) > maxSame:
		return nil, fmt.Errorf("type %s: %d types have this name, more than the limit of %d", name, len(sized), maxSame)
	}
	return sized, nil
}

// maxOffset bounds the distance in bits of a field from the start of its structure.
const maxOffset = 1 << 32

// resolve walks a path from a type to a field.
func resolve(typ btf.Type, path string) (Field, error) {
	var at uint64 // of the member from the start, in bits
	budget := maxMembers
	var last btf.Member
	for step := range strings.SplitSeq(path, ".") {
		name, indices, _ := strings.Cut(step, "[")
		members, ok := membersOf(typ)
		if !ok {
			return Field{}, fmt.Errorf("%s is looked up in a type that is no structure; pointers are not followed", step)
		}
		m, offset, err := member(members, name, maxDepth, &budget)
		if err != nil {
			return Field{}, err
		}
		at += offset
		last, typ = m, btf.UnderlyingType(m.Type)
		if indices == "" {
			continue
		}
		for index := range strings.SplitSeq(indices, "[") {
			i, err := strconv.ParseUint(strings.TrimSuffix(index, "]"), 10, 31)
			array, isArray := typ.(*btf.Array)
			if err != nil || !isArray || !strings.HasSuffix(index, "]") {
				return Field{}, fmt.Errorf("%s is no element of an array", step)
			}
			// Flexible arrays have no length to check against.
			if array.Nelems > 0 && i >= uint64(array.Nelems) {
				return Field{}, fmt.Errorf("%s is beyond the array's %d elements", step, array.Nelems)
			}
			size, err := btf.Sizeof(array.Type)
			if err != nil {
				return Field{}, err
			}
			if i > maxOffset/8/max(1, uint64(size)) {
				return Field{}, fmt.Errorf("%s is %d elements behind the array's start: too far", step, i)
			}
			at += 8 * uint64(size) * i
			typ = btf.UnderlyingType(array.Type)
		}
	}
	if at >= maxOffset {
		return Field{}, fmt.Errorf("it is %d bits behind the start of the structure: too far", at)
	}
	f := Field{Offset: uint32(at / 8), BitOffset: uint32(at % 8)}
	if last.BitfieldSize > 0 {
		f.BitSize = uint32(last.BitfieldSize)
		f.Size = (f.BitOffset + f.BitSize + 7) / 8
		return f, nil
	}
	if f.BitOffset != 0 {
		return Field{}, fmt.Errorf("it begins at bit %d of a byte and is no bit field", f.BitOffset)
	}
	size, err := btf.Sizeof(typ)
	if err != nil {
		return Field{}, err
	}
	f.Size = uint32(size)
	return f, nil
}

func membersOf(typ btf.Type) ([]btf.Member, bool) {
	switch t := typ.(type) {
	case *btf.Struct:
		return t.Members, true
	case *btf.Union:
		return t.Members, true
	}
	return nil, false
}

// member finds a member by name, also inside of anonymous members. offset is its
// distance in bits from the start of the outermost structure. budget is the number of
// members that may still be visited.
func member(members []btf.Member, name string, depth int, budget *int) (m btf.Member, offset uint64, err error) {
	if name == "" || depth == 0 {
		return btf.Member{}, 0, fmt.Errorf("member %q %w", name, ErrNotFound)
	}
	for _, m := range members {
		if *budget--; *budget < 0 {
			return btf.Member{}, 0, fmt.Errorf("member %s: the structure has more than %d members", name, maxMembers)
		}
		if m.Name == name {
			return m, uint64(m.Offset), nil
		}
		if m.Name != "" {
			continue
		}
		if inner, ok := membersOf(btf.UnderlyingType(m.Type)); ok {
			found, offset, err := member(inner, name, depth-1, budget)
			if err == nil {
				return found, uint64(m.Offset) + offset, nil
			}
			if !errors.Is(err, ErrNotFound) {
				return btf.Member{}, 0, err
			}
		}
	}
	return btf.Member{}, 0, fmt.Errorf("member %s %w", name, ErrNotFound)
}
