"""What benchmarks/compare_peers and benchmarks/draw_performance are made of; benchmarks/README.md."""
