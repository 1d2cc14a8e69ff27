"""What `import headstart` offers, and what that needs: feature sets as arrays, trained heads on pictures, and scikit-learn
estimators."""
