"""The cgroup of a sandbox: made, limited, and which devices it lets programs open."""
