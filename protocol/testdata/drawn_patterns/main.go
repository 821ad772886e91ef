// Draws patterns of download blocks, and says of each whether it matches a module path, by Go's own
// path.Match and the rule of docs/download-mode.md. What it prints is drawn.txt:
//
//	go run main.go > drawn.txt
package main

import (
	"fmt"
	"path"
	"strings"
)

// A generator of its own, so that every version of Go draws the same.
var state uint64 = 0x9e3779b97f4a7c15

func draw(n int) int {
	state = state*6364136223846793005 + 1442695040888963407
	return int((state >> 33) % uint64(n))
}

func pick(words []string) string { return words[draw(len(words))] }

var hosts = []string{"github.com", "git.corp", "go.uber.org", "x.y-z.test", "k8s.io"}
var names = []string{"a", "b", "ab", "abc", "acme", "tool-x", "y.v2", "v2", "v3", "Azure", "x_1", "~u"}

// What a pattern's element is made of, beside what it shall match.
var odd = []string{"*", "**", "?", "??", "a*", "*b", "a?c", "[ab]", "[a-c]*", "[^a]", "[^a-z]*", "[!a]*",
	"\\a", "\\*", "[\\]a]*", "{a,b}", "", ".", "..", "[", "[]", "[]a]", "a[", "[a-", "[-a]", "[a-]", "\\",
	"*.corp", "git.*", "*.*", "*-*", "g*b.com", "[A-Z]*", "[a-zA-Z]*", "Ä", "[À-ÿ]", "?*", "*?", "a*c*",
	"[a/b]", "v[0-9]", "~*", ",", "a,b", "[*]", "[?]", "\\\\", "*[c]", "***", "[a-c-e]"}

func module() string {
	elements := []string{pick(hosts)}
	for range draw(4) {
		elements = append(elements, pick(names))
	}
	return strings.Join(elements, "/")
}

// Mostly near a module, so that enough of them match.
func pattern(module string) string {
	elements := strings.Split(module, "/")
	elements = elements[:1+draw(len(elements))]
	for i := range elements {
		switch draw(5) {
		case 0:
			elements[i] = pick(odd)
		case 1:
			elements[i] = bent(elements[i])
		case 2:
			elements[i] = "*"
		}
	}
	switch draw(12) {
	case 0:
		elements = append(elements, pick(names))
	case 1:
		elements = append(elements, "")
	case 2:
		elements = append([]string{""}, elements...)
	}
	return strings.Join(elements, "/")
}

// An element with one of its letters made a wildcard, a class or an escape of itself.
func bent(element string) string {
	i := draw(len(element))
	letter := element[i : i+1]
	forms := []string{"?", "*", "[" + letter + "]", "[^" + letter + "]", "[^q]", "[^!-,]", "\\" + letter, "[a-m]", "[n-z.]"}
	return element[:i] + pick(forms) + element[i+1:]
}

func matches(pattern, module string) bool {
	n := strings.Count(pattern, "/") + 1
	elements := strings.Split(module, "/")
	if len(elements) < n {
		return false
	}
	matched, err := path.Match(pattern, strings.Join(elements[:n], "/"))
	return err == nil && matched
}

func main() {
	fmt.Println("# Pattern, module path, whether the pattern of a download block matches it: drawn and")
	fmt.Println("# answered by main.go. Patterns are quoted as they stand, without escapes of their own.")
	seen := map[string]bool{}
	for len(seen) < 600 {
		module := module()
		pattern := pattern(module)
		if seen[pattern] {
			continue
		}
		seen[pattern] = true
		fmt.Printf("\"%s\" %s %v\n", pattern, module, matches(pattern, module))
	}
}
