"""U-Nets and AdaReNet."""
